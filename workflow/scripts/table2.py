"""List the words that share a code (Table 2), and measure whether like codes mean like words."""

from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.codes import Codes
from kdcore.files import write_text
from kdcore.vectors import WordVectors
from kdlab import table2


def main(
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    vectors: Annotated[Path, typer.Option(help="word vectors")],
    codes: Annotated[Path, typer.Option(help="codes learned from them")],
    table: Annotated[Path, typer.Option(help="output: every code and its words")],
    listing: Annotated[Path, typer.Option(help="output: the codes that show it best")],
    similarity: Annotated[Path, typer.Option(help="output: similarity by shared positions")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    source = table2.source(_script.experiment(settings))
    words, learned = WordVectors.load(vectors), Codes.load(codes)
    write_text(table, table2.listing(words, learned).to_csv(index=False))
    write_text(similarity, table2.similarity(words, learned).to_csv(index=False))
    write_text(listing, table2.as_markdown(words, learned, source))
    used, space = len(learned.groups()), learned.K**learned.D
    _script.log.info("%d words in %d of %d codes", len(learned), used, space)


if __name__ == "__main__":
    _script.run(main)
