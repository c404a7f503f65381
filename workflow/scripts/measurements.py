"""Gather what every trained model measured into one tidy table."""

from pathlib import Path
from typing import Annotated

import _script
import pandas as pd
import typer

from kdcore.files import read_json, write_text
from kdlab.corpus import Corpus
from kdlab.measured import cell_of, checks, config_hash
from kdlab.preset import load_preset

COLUMNS = [
    "size", "codes", "transform", "K", "D", "seed", "test_ppl", "valid_ppl", "train_ppl",
    "epochs", "embedding_params", "model_params", "rate", "rate_with_codes", "unique_codes",
    "code_entropy", "wall_seconds", "tokens_per_second", "device", "threads", "precision",
    "python", "torch", "commit", "data_hash", "config_hash", "code_hash",
]  # fmt: skip


def main(
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    corpus: Annotated[Path, typer.Option(help="corpus file: the text they are to be of")],
    table: Annotated[Path, typer.Option(help="output: one row per trained model")],
    measurements: Annotated[list[Path] | None, typer.Argument(help="measurement files")] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    other_than = checks(load_preset(read_json(settings)), Corpus.load(corpus).digest[:16])
    rows = []
    for path in measurements or []:
        row = read_json(path)
        check = other_than.get(cell_of(row).folder, lambda _: "not a model of the preset")
        if other := check(row):
            _script.log.warning("left out, measured with other settings: %s (%s)", path, other)
            continue
        rows.append({"rate": 1.0, **row, "config_hash": config_hash(row)})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    whole = {name: "Int64" for name in ("K", "D", "unique_codes")}
    write_text(table, frame.astype(whole).to_csv(index=False))
    _script.log.info("%d trained models", len(frame))


if __name__ == "__main__":
    _script.run(main)
