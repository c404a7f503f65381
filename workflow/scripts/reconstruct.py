"""Compress word vectors to one form and measure what was lost."""

from pathlib import Path
from typing import Annotated

import _script
import torch
import typer

from kdcore.files import sha256, write_json
from kdcore.vectors import WordVectors
from kdlab.installed import InstalledFile, find_installed
from kdlab.reconstruction import measure


def main(
    settings: Annotated[str, typer.Option(help="form, ratio, seed, pairs of words, JSON")],
    identity: Annotated[str, typer.Option(help="what the address is the hash of, JSON")],
    address: Annotated[str, typer.Option(help="of the run")],
    vectors: Annotated[Path, typer.Option(help="word vectors")],
    measurement: Annotated[Path, typer.Option(help="output: what was lost")],
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    torch.set_num_threads(threads)
    chosen = _script.as_json(settings)
    similarity = chosen.pop("similarity", None)
    pairs = similarity and find_installed(_script.parse(InstalledFile, similarity, "similarity"))
    found = measure(WordVectors.load(vectors), **chosen, pairs=pairs)
    about = {"address": address, "data_hash": sha256(vectors)[:16]}
    write_json(measurement, {**about, **found, "spec": _script.as_json(identity, "identity")})


if __name__ == "__main__":
    _script.run(main)
