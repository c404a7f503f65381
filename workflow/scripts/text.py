"""Read a text and index its words."""

from pathlib import Path
from typing import Annotated

import _script
import typer

from kdlab.corpus import SPLITS
from kdlab.texts import TEXTS


def main(
    settings: Annotated[str, typer.Option(help="text of a preset, JSON")],
    corpus: Annotated[Path, typer.Option(help="output: corpus file")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    chosen = TEXTS.parse(_script.as_json(settings), "text")
    text = chosen.module.read(chosen)
    text.save(corpus)
    tokens = ", ".join(f"{split} {len(getattr(text, split)):,}" for split in SPLITS)
    _script.log.info(
        "%d words; tokens: %s; data hash %s", len(text.words), tokens, text.digest[:16]
    )


if __name__ == "__main__":
    _script.run(main)
