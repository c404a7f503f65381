"""Index the words of a text of your own: train.txt, valid.txt and test.txt in one folder."""

from pathlib import Path
from typing import Annotated

import _corpus
import _script
import typer

from kdcore.corpus import SPLITS, Corpus
from workflow.preset import TextFolder


def main(
    corpus: Annotated[Path, typer.Option(help="output: corpus file")],
    settings: Annotated[str, typer.Option(help="the corpus section of a preset, JSON")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    folder = Path(_script.parse(TextFolder, settings).folder)
    text = Corpus.from_files({split: folder / f"{split}.txt" for split in SPLITS})
    _corpus.write(text, corpus)


if __name__ == "__main__":
    _script.run(main)
