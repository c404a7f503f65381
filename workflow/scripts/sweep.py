"""Perplexity of one method with one setting after another varied."""

from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.files import write_text
from kdlab import sweeps
from kdlab.measurements import read_measurements


def main(
    name: Annotated[str, typer.Option(help="entry of `sweeps`")],
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    csv: Annotated[Path, typer.Option(help="output: perplexity by what is varied")],
    measurements: Annotated[list[Path] | None, typer.Argument(help="measurement files")] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    experiment = _script.experiment(settings)
    runs = [point.run for point in experiment.sweep(name)]
    measured = read_measurements(experiment, measurements or [], runs)
    write_text(csv, sweeps.build(experiment, name, measured).to_csv(index=False))


if __name__ == "__main__":
    _script.run(main)
