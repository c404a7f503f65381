"""Join what compressed word vectors have lost into one table."""

from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.files import write_text
from kdlab import reconstruction


def main(
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    csv: Annotated[Path, typer.Option(help="output: the table")],
    files: Annotated[list[Path] | None, typer.Argument(help="measurement.json files")] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    found = reconstruction.table(_script.experiment(settings), files or [])
    write_text(csv, found.to_csv(index=False))


if __name__ == "__main__":
    _script.run(main)
