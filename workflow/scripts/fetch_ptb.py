"""Bring the Penn Treebank's files: from the data mirror, or by download."""

from pathlib import Path
from typing import Annotated

import _script
import typer

from kdlab.download import mirror_folder
from kdlab.ptb import fetch_ptb


def main(
    folder: Annotated[Path, typer.Option(help="where to put ptb.train.txt and the others")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    fetch_ptb(folder, mirror_folder())
    _script.log.info("Penn Treebank in %s, SHA-256 as expected", folder)


if __name__ == "__main__":
    _script.run(main)
