"""Compress word vectors to one form and measure what was lost."""

from pathlib import Path
from typing import Annotated

import _script
import torch
import typer

from kdcore.files import write_json
from kdcore.vectors import WordVectors
from kdlab.reconstruction import measure


def main(
    settings: Annotated[str, typer.Option(help="form, ratio and seed, JSON")],
    vectors: Annotated[Path, typer.Option(help="word vectors")],
    measurement: Annotated[Path, typer.Option(help="output: what was lost")],
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    torch.set_num_threads(threads)
    write_json(measurement, measure(WordVectors.load(vectors), **_script.as_json(settings)))


if __name__ == "__main__":
    _script.run(main)
