"""Learn codes from word vectors (Algorithm 1)."""

import csv
import io
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import _script
import torch
import typer

from kdcore.decoder import save_decoder
from kdcore.files import write_text
from kdcore.learning import LearningRecord, learn_codes
from kdcore.settings.codes import CodeLearningSettings
from kdcore.vectors import WordVectors


def main(
    vectors: Annotated[Path, typer.Option(help="word vectors")],
    k: Annotated[int, typer.Option("--K", help="values of a symbol")],
    d: Annotated[int, typer.Option("--D", help="symbols in a code")],
    transform: Annotated[str, typer.Option(help="linear or lstm")],
    settings: Annotated[str, typer.Option(help="code learning settings, JSON")],
    seed: Annotated[int, typer.Option(help="random seed")],
    codes: Annotated[Path, typer.Option(help="output: codes")],
    decoder: Annotated[Path, typer.Option(help="output: the transform's weights")],
    history: Annotated[Path, typer.Option(help="output: code health by epoch")],
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    torch.set_num_threads(threads)
    table = WordVectors.load(vectors)
    chosen = _script.parse(CodeLearningSettings, settings)
    name = f"codes {transform} K={k} D={d}, seed {seed}"
    next_line = time.monotonic()

    def report(record: LearningRecord, _: torch.Tensor) -> None:
        nonlocal next_line
        if time.monotonic() >= next_line or record.epoch == chosen.epochs:
            next_line = time.monotonic() + 10
            _script.log.info(
                "%s: epoch %d of %d, T %.3f, relative error %.3f, %.1f %% of codes changed, "
                "%d distinct codes", name, record.epoch, chosen.epochs, record.temperature,
                record.error, 100 * record.changed, record.unique,
            )  # fmt: skip

    learned = learn_codes(
        table.vectors, k, d, transform=transform, seed=seed, report=report, **dict(chosen)
    )
    learned.codes.save(codes)
    save_decoder(decoder, learned.transform)
    text = io.StringIO()
    rows = csv.DictWriter(text, asdict(learned.history[0]), lineterminator="\n")
    rows.writeheader()
    rows.writerows(asdict(record) for record in learned.history)
    write_text(history, text.getvalue())


if __name__ == "__main__":
    _script.run(main)
