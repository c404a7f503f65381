"""Get the word vectors for Table 2: GloVe, a file of one's own, or a baseline's embedding."""

import json
from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.errors import KDError
from kdlab.download import mirror_folder
from kdlab.glove import parse_vectors, read_glove


def main(
    settings: Annotated[str, typer.Option(help="table2.vectors of a preset, JSON")],
    vectors: Annotated[Path, typer.Option(help="output: word vectors")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    chosen = json.loads(settings)
    if chosen["kind"] == "glove":
        text = read_glove(chosen["dim"], chosen["words"], mirror_folder())
        # Words may have what else splits a line, such as U+0085.
        source = f"glove.6B.{chosen['dim']}d"
        found = parse_vectors(text.removesuffix("\n").split("\n"), source)
    else:
        source = chosen["path"]
        try:
            with open(source, encoding="utf-8-sig") as stream:
                found = parse_vectors(stream, source, chosen["words"])
        except (OSError, UnicodeDecodeError) as error:
            raise KDError(f"{source}: {error}") from None
    found.save(vectors)
    _script.log.info("%d vectors of size %d from %s", *found.vectors.shape, source)


if __name__ == "__main__":
    _script.run(main)
