"""Draw the demo corpus from its grammar."""

from pathlib import Path
from typing import Annotated

import _corpus
import _script
import typer

from kdlab.grammar import generate


def main(
    corpus: Annotated[Path, typer.Option(help="output: corpus file")],
    tokens: Annotated[int, typer.Option(help="training tokens, about")],
    seed: Annotated[int, typer.Option(help="random seed of the text")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    _corpus.write(generate(tokens, seed), corpus)


if __name__ == "__main__":
    _script.run(main)
