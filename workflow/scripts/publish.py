"""Copy what trained models measured into results/<preset>/measured/, which goes into git.

With `partial`, tables and figures are drawn from there where runs/ has nothing: a machine that
trained some cells can hand them to another, and a fresh clone shows what was measured. The codes
that models were trained on go with them, and, for the next machine rather than for git, the
embeddings in half precision.
"""

import shutil
from functools import partial
from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.files import atomic_path, read_json, sha256
from kdcore.vectors import WordVectors
from workflow.measured import other_than_cell, other_than_variant
from workflow.preset import Cell, all_cells, read_preset

FILES = ("measurement.json", "curve.csv")
CODES, BENCHMARK = "codes.safetensors", "benchmark.tsv"


def main(
    config: Annotated[Path, typer.Option(help="preset file")] = Path("config/paper.yaml"),
) -> None:
    _script.start_log(None)
    preset = read_preset(config)
    runs = Path("runs", preset.preset)
    published = Path("results", preset.preset, "measured")
    count = 0
    checks = {cell.folder: partial(other_than_cell, cell=cell) for cell in all_cells(preset)}
    for variant in preset.ablations.variants if preset.ablations else []:
        checks[f"ablations/{variant.name}"] = partial(other_than_variant, variant=variant)
    for folder, other_than in checks.items():
        run = runs / folder
        if not all((run / name).is_file() for name in FILES):
            continue
        if other := other_than(read_json(run / FILES[0]), preset):
            _script.log.warning("not published, measured with other settings: %s (%s)", run, other)
            continue
        count += 1
        _copy(run, published / folder, FILES)
    _script.log.info("%d of %d models published", count, len(checks))
    for cell in all_cells(preset):
        if cell.codes in ("linear", "lstm") and (published / cell.folder).is_dir():
            _publish_codes(cell, runs, published)
    for path in sorted(runs.glob("embedding/*/*/vectors.safetensors")):
        found = WordVectors.load(path)
        half = WordVectors(found.words, found.vectors.half())
        half.save(published / path.relative_to(runs))


def _publish_codes(cell: Cell, runs: Path, published: Path) -> None:
    codes = runs / cell.codes_folder
    if not (codes / CODES).is_file():
        return
    trained_on = read_json(published / cell.folder / FILES[0])["codes_hash"]
    if sha256(codes / CODES)[:16] != trained_on:
        _script.log.warning("not published, %s was trained on other codes: %s", cell.folder, codes)
        return
    timed = (BENCHMARK,) if (codes / BENCHMARK).is_file() else ()
    _copy(codes, published / cell.codes_folder, (CODES, *timed))


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    for name in names:
        with atomic_path(target / name) as temporary:
            shutil.copyfile(source / name, temporary)


if __name__ == "__main__":
    _script.run(main)
