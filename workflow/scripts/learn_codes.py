"""Learn codes from word vectors (Algorithm 1)."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import _script
import pandas as pd
import torch
import typer
from _continued import alone, terminated

from kdcore.decoder import save_decoder
from kdcore.errors import KDError
from kdcore.files import fingerprint, sha256, write_text
from kdcore.learning import LearningRecord, learn_codes
from kdcore.settings.codes import CodeLearningSettings
from kdcore.vectors import WordVectors
from kdlab.corpus import Corpus
from kdlab.provenance import code_hash


def main(
    vectors: Annotated[Path, typer.Option(help="word vectors")],
    k: Annotated[int, typer.Option("--K", help="values of a symbol")],
    d: Annotated[int, typer.Option("--D", help="symbols in a code")],
    transform: Annotated[str, typer.Option(help="linear or lstm")],
    settings: Annotated[str, typer.Option(help="code learning settings, JSON")],
    seed: Annotated[int, typer.Option(help="random seed")],
    codes: Annotated[Path, typer.Option(help="output: codes")],
    decoder: Annotated[Path, typer.Option(help="output: the transform's weights")],
    history: Annotated[Path, typer.Option(help="output: code health by epoch, then by round")],
    scratch: Annotated[Path, typer.Option(help="folder of checkpoints")],
    corpus: Annotated[
        Path | None, typer.Option(help="corpus file, whose counts a refinement goes by")
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    checkpoint_seconds: Annotated[float, typer.Option(help="time between checkpoints")] = 60.0,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    torch.set_num_threads(threads)
    table = WordVectors.load(vectors)
    chosen = _script.parse(CodeLearningSettings, settings)
    counts = None
    if corpus:
        text = Corpus.load(corpus)
        if text.words != table.words:
            raise KDError(f"{corpus} and {vectors} have different words")
        counts = torch.bincount(text.train, minlength=len(text.words))
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

    identity = fingerprint(
        [chosen.model_dump(), transform, k, d, seed, threads, sha256(vectors), code_hash(__file__)]
    )
    checkpoint = scratch / f"{identity}.safetensors"
    with alone(checkpoint, name):
        if checkpoint.exists():
            _script.log.info("%s: continuing from a checkpoint", name)
        learned = learn_codes(
            table.vectors, k, d, transform=transform, seed=seed, counts=counts, report=report,
            checkpoint=checkpoint, checkpoint_seconds=checkpoint_seconds, stop=terminated(),
            **dict(chosen),
        )  # fmt: skip
        if learned is None:
            raise KDError(f"{name}: stopped; the same command continues from the checkpoint")
        if learned.refinement:
            best = min(learned.refinement, key=lambda record: record.error)
            _script.log.info(
                "%s: refined in %d rounds, relative error %.3f, %d distinct codes",
                name, chosen.refinement.rounds, best.error, best.unique,
            )  # fmt: skip
        learned.codes.save(codes)
        save_decoder(decoder, learned.transform)
        records = [asdict(record) for record in (*learned.history, *learned.refinement)]
        write_text(history, pd.DataFrame(records).to_csv(index=False))
        checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    _script.run(main)
