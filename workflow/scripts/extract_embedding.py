"""Take the input embedding out of a trained language model (Section 2.3: the given v)."""

from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.tensors import load_tensors
from kdcore.vectors import WordVectors
from kdlab.corpus import Corpus


def main(
    corpus: Annotated[Path, typer.Option(help="corpus file, for the words")],
    model: Annotated[Path, typer.Option(help="weights of a conventional model")],
    vectors: Annotated[Path, typer.Option(help="output: word vectors")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    tensors, _ = load_tensors(model, "language model", ["embedding.weight"])
    found = WordVectors(Corpus.load(corpus).words, tensors["embedding.weight"])
    found.save(vectors)
    _script.log.info("%d vectors of size %d", *found.vectors.shape)


if __name__ == "__main__":
    _script.run(main)
