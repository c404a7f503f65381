"""Bring the pretrained word vectors that codes are learned from."""

from pathlib import Path
from typing import Annotated

import _script
import typer

from kdlab.vectors import VECTORS, VectorInputs


def main(
    settings: Annotated[str, typer.Option(help="vectors of a preset, JSON")],
    vectors: Annotated[Path, typer.Option(help="output: word vectors")],
    corpus: Annotated[Path | None, typer.Option(help="corpus file, for its words")] = None,
    model: Annotated[Path | None, typer.Option(help="weights of a trained model")] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    chosen = VECTORS.parse(_script.as_json(settings), "vectors")
    found = chosen.module.read(chosen, VectorInputs(text=corpus, model=model))
    found.save(vectors)
    _script.log.info("%d vectors of size %d: %s", *found.vectors.shape, chosen.title)


if __name__ == "__main__":
    _script.run(main)
