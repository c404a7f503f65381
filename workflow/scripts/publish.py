"""Copy what trained models measured into results/<preset>/measured/, which goes into git.

With `partial`, tables and figures are drawn from there where runs/ has nothing: a machine that
trained some cells can hand them to another, and a fresh clone shows what was measured.
"""

import shutil
from pathlib import Path
from typing import Annotated

import _script
import typer
import yaml

from kdcore.errors import KDError
from kdcore.files import atomic_path
from workflow.preset import all_cells, load_preset

FILES = ("measurement.json", "curve.csv")


def main(
    config: Annotated[Path, typer.Option(help="preset file")] = Path("config/paper.yaml"),
) -> None:
    _script.start_log(None)
    try:
        preset = load_preset(yaml.safe_load(config.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise KDError(f"{config}: {error}") from None
    count = 0
    for cell in all_cells(preset):
        run = Path("runs", preset.preset, cell.folder)
        if all((run / name).is_file() for name in FILES):
            count += 1
            for name in FILES:
                target = Path("results", preset.preset, "measured", cell.folder, name)
                with atomic_path(target) as temporary:
                    shutil.copyfile(run / name, temporary)
    _script.log.info("%d of %d cells published", count, len(all_cells(preset)))


if __name__ == "__main__":
    _script.run(main)
