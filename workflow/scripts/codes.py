"""Make the codes of a table's words: learned from vectors, or drawn at random."""

import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Annotated, Any

import _script
import pandas as pd
import torch
import typer

from kdcore.codes import Codes
from kdcore.decoder import save_decoder
from kdcore.errors import KDError
from kdcore.files import fingerprint, write_json, write_text
from kdcore.learners import LEARNERS, Control, LearnedCodes, LearnerInputs
from kdcore.vectors import WordVectors, relative_error
from kdlab.continued import NOTICE, asked_to_stop, locked
from kdlab.corpus import Corpus
from kdlab.training import resolve_device


def main(
    settings: Annotated[str, typer.Option(help="learner and seed, JSON")],
    address: Annotated[str, typer.Option(help="of the codes")],
    codes: Annotated[Path, typer.Option(help="output: codes")],
    decoder: Annotated[Path, typer.Option(help="output: what composes vectors, if it is learned")],
    history: Annotated[Path, typer.Option(help="output: health of the codes as they are learned")],
    error: Annotated[Path, typer.Option(help="output: what the decoder loses of the vectors")],
    scratch: Annotated[Path, typer.Option(help="folder of checkpoints")],
    title: Annotated[str, typer.Option(help="what messages call the codes")] = "codes",
    corpus: Annotated[Path | None, typer.Option(help="corpus file, for words and counts")] = None,
    vectors: Annotated[Path | None, typer.Option(help="pretrained word vectors")] = None,
    start: Annotated[Path | None, typer.Option(help="codes to begin with")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda, for a learner that can")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    checkpoint_seconds: Annotated[float, typer.Option(help="time between checkpoints")] = 60.0,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    torch.set_num_threads(threads)
    values = _script.as_json(settings)
    learner = LEARNERS.parse(values["learner"], "learner")
    inputs = replace(read_inputs(corpus, vectors, start), device=resolve_device(device))
    next_line = time.monotonic()

    def report(record: Any, _: torch.Tensor) -> None:
        nonlocal next_line
        if time.monotonic() >= next_line:
            next_line = time.monotonic() + 10
            unit = fields(record)[0].name
            _script.log.info(
                "%s: %s %d, relative error %.3f, %.1f %% of codes changed, %d distinct codes",
                title, unit, getattr(record, unit), record.error, 100 * record.changed,
                record.unique,
            )  # fmt: skip

    checkpoint = scratch / f"{fingerprint([address, threads, device])}.safetensors"
    with locked(checkpoint, title) as waited:
        # The codes are written last.
        if waited and codes.exists():
            _script.log.log(NOTICE, "%s: the other process has finished them", title)
            return
        if checkpoint.exists():
            _script.log.log(NOTICE, "%s: continuing from a checkpoint", title)
        control = Control(checkpoint, checkpoint_seconds, report, asked_to_stop())
        asked = inputs if "counts" in learner.needs else replace(inputs, counts=None)
        learned = learner.module.learn(learner, asked, values["seed"], control)
        if learned is None:
            raise KDError(f"{title}: stopped; the same command continues from the checkpoint")
        health = learned.codes.statistics()
        _script.log.info("%s: %d codes, %d distinct", title, len(learned.codes), health.unique)
        if learned.transform is not None:
            save_decoder(decoder, learned.transform)
        records = pd.DataFrame([asdict(record) for record in learned.history])
        write_json(error, errors(learned, inputs))
        write_text(history, records.to_csv(index=False))
        learned.codes.save(codes)
        checkpoint.unlink(missing_ok=True)


def errors(learned: LearnedCodes, inputs: LearnerInputs) -> dict[str, float]:
    """What the decoder loses of the vectors, words alike and by occurrence; nothing without one."""
    if learned.transform is None or inputs.vectors is None:
        return {}
    composed = learned.transform.compose_all(learned.codes.tensor())
    found = {"error": relative_error(inputs.vectors, composed)}
    if inputs.counts is not None:
        found["error_by_occurrence"] = relative_error(inputs.vectors, composed, inputs.counts)
    return found


def read_inputs(corpus: Path | None, vectors: Path | None, start: Path | None) -> LearnerInputs:
    """What codes are made from.

    Raises:
        KDError: a file is missing or damaged, or they are of different words.
    """
    text = Corpus.load(corpus) if corpus else None
    table = WordVectors.load(vectors) if vectors else None
    if text and table and vectors:
        text.check_words(table.words, vectors)
    words = text.words if text else table.words if table else ()
    return LearnerInputs(
        len(words),
        table.vectors if table else None,
        text.counts if text else None,
        Codes.load(start) if start else None,
    )


if __name__ == "__main__":
    _script.run(main)
