"""Copy what trained models measured into results/<preset>/measured/, which goes into git.

With `partial`, tables and figures are drawn from there where runs/ has nothing: a machine that
trained some cells can hand them to another, and a fresh clone shows what was measured.
"""

import shutil
from functools import partial
from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.files import atomic_path, read_json
from workflow.measured import other_than_cell, other_than_variant
from workflow.preset import all_cells, read_preset

FILES = ("measurement.json", "curve.csv")


def main(
    config: Annotated[Path, typer.Option(help="preset file")] = Path("config/paper.yaml"),
) -> None:
    _script.start_log(None)
    preset = read_preset(config)
    count = 0
    checks = {cell.folder: partial(other_than_cell, cell=cell) for cell in all_cells(preset)}
    for variant in preset.ablations.variants if preset.ablations else []:
        checks[f"ablations/{variant.name}"] = partial(other_than_variant, variant=variant)
    for folder, other_than in checks.items():
        run = Path("runs", preset.preset, folder)
        if not all((run / name).is_file() for name in FILES):
            continue
        if other := other_than(read_json(run / FILES[0]), preset):
            _script.log.warning("not published, measured with other settings: %s (%s)", run, other)
            continue
        count += 1
        for name in FILES:
            target = Path("results", preset.preset, "measured", folder, name)
            with atomic_path(target) as temporary:
                shutil.copyfile(run / name, temporary)
    _script.log.info("%d of %d models published", count, len(checks))


if __name__ == "__main__":
    _script.run(main)
