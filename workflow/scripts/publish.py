"""Copy what trained models measured into results/<preset>/measured/, which goes into git.

With `partial`, tables and figures are drawn from there where runs/ has nothing: a machine that
trained some cells can hand them to another, and a fresh clone shows what was measured. The codes
that models were trained on go with them, and, for use rather than for git, the embeddings in half
precision.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.files import atomic_path, read_json, sha256
from kdcore.vectors import WordVectors
from kdlab.corpus import Corpus
from kdlab.measured import checks
from kdlab.preset import Cell, all_cells, read_preset

FILES = ("measurement.json", "curve.csv")
CODES = "codes.safetensors"
# How long codes took to learn, and their error by epoch.
BESIDE_CODES = ("benchmark.tsv", "history.csv")


def main(
    config: Annotated[Path, typer.Option(help="preset file")] = Path("config/paper.yaml"),
) -> None:
    _script.start_log(None)
    preset = read_preset(config)
    runs = Path("runs", preset.preset)
    published = Path("results", preset.preset, "measured")
    text = Corpus.load(Path("data", preset.preset, "corpus.safetensors")).digest[:16]
    found = set()
    wanted = checks(preset, text)
    for folder, other_than in wanted.items():
        run = runs / folder
        if not all((run / name).is_file() for name in FILES):
            continue
        if other := other_than(read_json(run / FILES[0])):
            _script.log.warning("not published, measured with other settings: %s (%s)", run, other)
            continue
        found.add(folder)
        _copy(run, published / folder, FILES)
    _script.log.info("%d of %d models published", len(found), len(wanted))
    for cell in all_cells(preset):
        if cell.folder not in found:
            continue
        if cell.codes == "none":
            _publish_embedding(f"embedding/{cell.size}/seed{cell.seed}", runs, published)
        elif cell.codes != "random":
            _publish_codes(cell, runs, published)


def _publish_embedding(folder: str, runs: Path, published: Path) -> None:
    vectors = Path(folder, "vectors.safetensors")
    if (runs / vectors).is_file():
        found = WordVectors.load(runs / vectors)
        WordVectors(found.words, found.vectors.half()).save(published / vectors)


def _publish_codes(cell: Cell, runs: Path, published: Path) -> None:
    codes = runs / cell.codes_folder
    if not (codes / CODES).is_file():
        return
    trained_on = read_json(published / cell.folder / FILES[0])["codes_hash"]
    if sha256(codes / CODES)[:16] != trained_on:
        _script.log.warning("not published, %s was trained on other codes: %s", cell.folder, codes)
        return
    beside = [name for name in BESIDE_CODES if (codes / name).is_file()]
    _copy(codes, published / cell.codes_folder, (CODES, *beside))


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    for name in names:
        with atomic_path(target / name) as temporary:
            shutil.copyfile(source / name, temporary)


if __name__ == "__main__":
    _script.run(main)
