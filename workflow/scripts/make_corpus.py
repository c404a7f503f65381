"""Make the corpus of a preset: download, read or generate the text, and index its words."""

import json
from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.corpus import SPLITS, Corpus
from kdcore.download import mirror_folder
from kdcore.grammar import generate
from kdcore.ptb import read_ptb


def main(
    settings: Annotated[str, typer.Option(help="the corpus section of a preset, JSON")],
    corpus: Annotated[Path, typer.Option(help="output: corpus file")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    chosen = json.loads(settings)
    if chosen["kind"] == "ptb":
        text = read_ptb(corpus.parent, mirror_folder())
    elif chosen["kind"] == "text":
        folder = Path(chosen["folder"])
        text = Corpus.from_files({split: folder / f"{split}.txt" for split in SPLITS})
    else:
        text = generate(chosen["tokens"], chosen["seed"])
    text.save(corpus)
    _script.log.info(
        "%d words; %s tokens; data hash %s",
        len(text.words),
        ", ".join(f"{split} {len(getattr(text, split)):,}" for split in SPLITS),
        text.digest[:16],
    )


if __name__ == "__main__":
    _script.run(main)
