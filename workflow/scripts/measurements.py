"""Gather what every trained model measured into one tidy table."""

from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.files import write_json, write_text
from kdlab import tables
from kdlab.measurements import read_measurements


def main(
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    table: Annotated[Path, typer.Option(help="output: one row per trained model")],
    metrics: Annotated[Path, typer.Option(help="output: JSON, rows of tables by model and method")],
    measurements: Annotated[list[Path] | None, typer.Argument(help="measurement files")] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    experiment = _script.experiment(settings)
    measured = read_measurements(experiment, measurements or [])
    write_text(table, measured.to_csv(index=False))
    write_json(metrics, tables.metrics(experiment, measured))
    _script.log.info("%d of %d trained models", len(measured), len(experiment.models()))


if __name__ == "__main__":
    _script.run(main)
