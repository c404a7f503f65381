"""Compress a table, or do a share of it: the books, the codes of some rows, or the whole file."""

import warnings
from pathlib import Path
from typing import Annotated

import _script
import torch
import typer

from kdcore.compressed import compress
from kdcore.compressing import compress_share
from kdcore.formats import read_vectors
from kdlab.compression import Compression


def main(
    settings: Annotated[str, typer.Option(help="what is compressed and how, JSON")],
    parts: Annotated[Path, typer.Option(help="folder of what the jobs hand on")],
    share: Annotated[int | None, typer.Option(help="of the rows; without: the books")] = None,
    out: Annotated[Path | None, typer.Option(help="output: the file, of all shares")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    torch.set_num_threads(threads)
    chosen = Compression.of(_script.as_json(settings), "settings")
    found = read_vectors(chosen.table, chosen.words)
    # Every job continues from the others' parts.
    warnings.filterwarnings("ignore", ".*: continuing; ", UserWarning)
    if out is not None:
        made = compress(found, **chosen.options, checkpoint=parts)
        made.save(out)
        _script.log.info("%s: %s", out, made.how["chosen"])
        return
    if share is None:
        for note in found.notes:
            _script.log.info("%s: %s", chosen.table, note)
    compress_share(found.vectors, share, chosen.blocks, checkpoint=parts, **chosen.options)


if __name__ == "__main__":
    _script.run(main)
