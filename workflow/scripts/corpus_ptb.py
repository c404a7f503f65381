"""Download the Penn Treebank, or take it from the data mirror, and index its words."""

from pathlib import Path
from typing import Annotated

import _corpus
import _script
import typer

from kdcore.download import mirror_folder
from kdcore.ptb import read_ptb
from workflow.preset import PTB


def main(
    corpus: Annotated[Path, typer.Option(help="output: corpus file; the text goes beside it")],
    settings: Annotated[str, typer.Option(help="the corpus section of a preset, JSON")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    _script.parse(PTB, settings)
    _corpus.write(read_ptb(corpus.parent, mirror_folder()), corpus)


if __name__ == "__main__":
    _script.run(main)
