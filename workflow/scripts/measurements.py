"""Gather what every trained model measured into one tidy table."""

from pathlib import Path
from typing import Annotated

import _script
import pandas as pd
import typer

from kdcore.files import read_json, write_text
from workflow.preset import Cell, config_hash, load_preset

COLUMNS = [
    "size", "codes", "transform", "K", "D", "seed", "test_ppl", "valid_ppl", "train_ppl",
    "epochs", "embedding_params", "model_params", "rate", "rate_with_codes", "unique_codes",
    "code_entropy", "wall_seconds", "tokens_per_second", "device", "threads", "precision",
    "python", "torch", "commit", "data_hash", "config_hash", "code_hash",
]  # fmt: skip


def main(
    measurements: Annotated[list[Path], typer.Argument(help="measurement files")],
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    table: Annotated[Path, typer.Option(help="output: one row per trained model")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    preset = load_preset(read_json(settings))
    rows = []
    for path in measurements:
        row = read_json(path)
        cell = Cell(**{key: row.get(key) for key in Cell.__dataclass_fields__})
        rows.append({"rate": 1.0, **row, "config_hash": config_hash(preset, cell)})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    whole = {name: "Int64" for name in ("K", "D", "unique_codes")}
    write_text(table, frame.astype(whole).to_csv(index=False))
    _script.log.info("%d trained models", len(frame))


if __name__ == "__main__":
    _script.run(main)
