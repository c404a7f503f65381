"""Index the words of a text: three files, one sentence a line."""

from pathlib import Path
from typing import Annotated

import _corpus
import _script
import typer

from kdlab.corpus import Corpus
from kdlab.ptb import check_ptb


def main(
    train: Annotated[Path, typer.Option(help="text to train on")],
    valid: Annotated[Path, typer.Option(help="text to choose settings on")],
    test: Annotated[Path, typer.Option(help="text to report on")],
    corpus: Annotated[Path, typer.Option(help="output: corpus file")],
    kind: Annotated[str, typer.Option(help="ptb: the files are checked by SHA-256")] = "text",
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    files = {"train": train, "valid": valid, "test": test}
    text = Corpus.from_files(files)
    if kind == "ptb":
        check_ptb(files)
    _corpus.write(text, corpus)


if __name__ == "__main__":
    _script.run(main)
