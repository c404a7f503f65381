"""Draw the demo corpus from its grammar."""

from pathlib import Path
from typing import Annotated

import _corpus
import _script
import typer

from kdcore.grammar import generate
from workflow.preset import Generated


def main(
    corpus: Annotated[Path, typer.Option(help="output: corpus file")],
    settings: Annotated[str, typer.Option(help="the corpus section of a preset, JSON")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    chosen = _script.parse(Generated, settings)
    _corpus.write(generate(chosen.tokens, chosen.seed), corpus)


if __name__ == "__main__":
    _script.run(main)
