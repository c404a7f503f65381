"""Copy what trained models measured into results/<preset>/measured/, which goes into git.

With `partial`, tables and figures are drawn from there where runs/ has nothing: a machine that
trained some cells can hand them to another, and a fresh clone shows what was measured.
"""

import shutil
from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.files import atomic_path
from workflow.preset import all_cells, read_preset

FILES = ("measurement.json", "curve.csv")


def main(
    config: Annotated[Path, typer.Option(help="preset file")] = Path("config/paper.yaml"),
) -> None:
    _script.start_log(None)
    preset = read_preset(config)
    count = 0
    folders = [cell.folder for cell in all_cells(preset)]
    if preset.ablations:
        folders += [f"ablations/{variant.name}" for variant in preset.ablations.variants]
    for folder in folders:
        run = Path("runs", preset.preset, folder)
        if all((run / name).is_file() for name in FILES):
            count += 1
            for name in FILES:
                target = Path("results", preset.preset, "measured", folder, name)
                with atomic_path(target) as temporary:
                    shutil.copyfile(run / name, temporary)
    _script.log.info("%d of %d models published", count, len(folders))


if __name__ == "__main__":
    _script.run(main)
