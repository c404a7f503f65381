"""Join the clustering experiment's seeds into one table (Figure 3 a, b)."""

from pathlib import Path
from typing import Annotated

import _script
import pandas as pd
import typer

from kdcore.files import write_text


def main(
    points: Annotated[list[Path], typer.Argument(help="tables of the seeds")],
    csv: Annotated[Path, typer.Option(help="output: joined table")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    joined = pd.concat([pd.read_csv(path) for path in points]).astype({"iteration": "Int64"})
    write_text(csv, joined.to_csv(index=False))


if __name__ == "__main__":
    _script.run(main)
