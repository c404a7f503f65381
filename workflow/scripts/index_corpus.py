"""Index the words of a text: three files, one sentence a line."""

from pathlib import Path
from typing import Annotated

import _corpus
import _script
import typer

from kdcore.corpus import Corpus


def main(
    train: Annotated[Path, typer.Option(help="text to train on")],
    valid: Annotated[Path, typer.Option(help="text to choose settings on")],
    test: Annotated[Path, typer.Option(help="text to report on")],
    corpus: Annotated[Path, typer.Option(help="output: corpus file")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    _corpus.write(Corpus.from_files({"train": train, "valid": valid, "test": test}), corpus)


if __name__ == "__main__":
    _script.run(main)
