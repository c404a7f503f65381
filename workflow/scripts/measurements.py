"""Gather what every trained model measured into one tidy table."""

from pathlib import Path
from typing import Annotated

import _script
import pandas as pd
import typer

from kdcore.errors import KDError
from kdcore.files import read_json, write_text
from workflow.preset import Cell, cell_settings, config_hash, load_preset, other_settings

COLUMNS = [
    "size", "codes", "transform", "K", "D", "seed", "test_ppl", "valid_ppl", "train_ppl",
    "epochs", "embedding_params", "model_params", "rate", "rate_with_codes", "unique_codes",
    "code_entropy", "wall_seconds", "tokens_per_second", "device", "threads", "precision",
    "python", "torch", "commit", "data_hash", "config_hash", "code_hash",
]  # fmt: skip


def main(
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    table: Annotated[Path, typer.Option(help="output: one row per trained model")],
    measurements: Annotated[list[Path] | None, typer.Argument(help="measurement files")] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    preset = load_preset(read_json(settings))
    rows = []
    for path in measurements or []:
        row = read_json(path)
        cell = Cell(**{key: row.get(key) for key in Cell.__dataclass_fields__})
        if other := other_settings(row, *cell_settings(preset, cell)):
            _script.log.warning("left out, measured with other settings: %s (%s)", path, other)
            continue
        rows.append({"rate": 1.0, **row, "config_hash": config_hash(preset, cell)})
    hashes = {row["data_hash"] for row in rows}
    if len(hashes) > 1:
        raise KDError(f"measurements of different texts, data hashes {', '.join(sorted(hashes))}")
    frame = pd.DataFrame(rows, columns=COLUMNS)
    whole = {name: "Int64" for name in ("K", "D", "unique_codes")}
    write_text(table, frame.astype(whole).to_csv(index=False))
    _script.log.info("%d trained models", len(frame))


if __name__ == "__main__":
    _script.run(main)
