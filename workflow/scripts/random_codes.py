"""Draw uniformly random codes, the baseline of Table 1."""

from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.codes import Codes
from kdlab.corpus import Corpus


def main(
    corpus: Annotated[Path, typer.Option(help="corpus file, for the number of words")],
    k: Annotated[int, typer.Option("--K", help="values of a symbol")],
    d: Annotated[int, typer.Option("--D", help="symbols in a code")],
    seed: Annotated[int, typer.Option(help="random seed")],
    codes: Annotated[Path, typer.Option(help="output: codes")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    drawn = Codes.random(len(Corpus.load(corpus).words), k, d, seed)
    drawn.save(codes)
    _script.log.info("%d random codes, %d distinct", len(drawn), drawn.statistics().unique)


if __name__ == "__main__":
    _script.run(main)
