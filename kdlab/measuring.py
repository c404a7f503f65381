"""Training one language model to the end, whatever its input embedding, and measuring it."""

import csv
import gc
import io
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch

from kdcore.durations import duration
from kdcore.embeddings import Embedding
from kdcore.errors import KDError
from kdcore.files import fingerprint, read_json, write_json, write_text
from kdcore.products import product_library
from kdcore.tensors import save_tensors
from kdlab.continued import NOTICE, asked_to_stop, locked
from kdlab.corpus import EOS, Corpus
from kdlab.language_model import LanguageModel, perplexity
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.provenance import environment
from kdlab.training import (
    EpochRecord,
    Precision,
    Progress,
    check_precision,
    resolve_device,
    train,
)

log = logging.getLogger("kd")
REPORT_SECONDS = 20
# A GPU of which so much is free has no other work on it.
OWN_SHARE = 0.9
WAIT_SECONDS = 10
Result = TypeVar("Result")


@dataclass(frozen=True)
class Conditions:
    """Where and how a model is trained.

    Attributes:
        device: `cpu` or `cuda`.
        precision: of training; scores are computed in float32.
        threads: of the CPU.
        checkpoint_seconds: between two checkpoints.
    """

    device: str
    precision: Precision
    threads: int
    checkpoint_seconds: float


@dataclass(frozen=True)
class Outputs:
    """Files that a training writes: weights, perplexity by epoch, what was measured."""

    model: Path
    curve: Path
    measurement: Path


def train_and_measure(
    *,
    title: str,
    build: Callable[[bool], Embedding],
    corpus: Corpus,
    settings: LanguageModelSettings,
    seed: int,
    conditions: Conditions,
    scratch: Path,
    outputs: Outputs,
    about: dict[str, Any],
    identity: dict[str, Any],
) -> None:
    """Train to the end, score on validation and test text, write model, curve and measurement.

    Where two processes are given the same run, as by a cluster that lost sight of the first, the
    second waits for the first and keeps what it made.

    Args:
        title: what messages call the run.
        build: makes the input embedding, after seeding; is told whether the weights of a
            checkpoint are loaded next.
        scratch: folder of checkpoints.
        about: what the measurement says of the run beside what is measured here.
        identity: what the run's address is the hash of.

    Raises:
        KDError: the device or its arithmetic is not here; training was stopped or went astray.
    """
    device = resolve_device(conditions.device)
    check_precision(conditions.precision, device)
    # Where scoring as one stream takes little beside training, it is one after every epoch.
    fast = conditions.precision == "bfloat16" or device.type == "cuda"
    torch.set_num_threads(conditions.threads)
    torch.use_deterministic_algorithms(device.type == "cpu")
    # Now: another commit may be checked out by the end.
    made_with = environment()
    name = fingerprint(
        [about["address"], conditions.device, conditions.precision, conditions.threads]
    )
    checkpoint = scratch / f"{name}.safetensors"
    with locked(checkpoint, title) as waited:
        if waited and _is_there(outputs.measurement, about["address"]):
            log.log(NOTICE, "%s: the other process has finished it", title)
            return
        if checkpoint.exists():
            log.log(NOTICE, "%s: continuing from a checkpoint", title)
        stop = asked_to_stop()

        def trained() -> tuple[Embedding, LanguageModel, list[EpochRecord] | None]:
            torch.manual_seed(seed)
            embedding = build(checkpoint.exists())
            network = LanguageModel(embedding, len(corpus.words), settings).to(device)
            records = train(
                network,
                corpus,
                settings,
                checkpoint=checkpoint,
                identity=name,
                precision=conditions.precision,
                valid_streams=settings.batch_size if fast else 1,
                checkpoint_seconds=conditions.checkpoint_seconds,
                report=_Reporter(title),
                stop=stop,
            )
            return embedding, network, records

        embedding, network, records = _with_room(trained, title, device, stop)
        if records is None:
            raise KDError(f"{title}: stopped; the same command continues from the checkpoint")
        _write_curve(outputs.curve, records)
        header = {"kind": "language model", "address": about["address"]}
        save_tensors(outputs.model, network.state_dict(), header)
        size, shape = embedding.size(), (len(corpus.words), settings.hidden)
        seconds = records[-1].seconds
        eos = corpus.words.index(EOS)
        measured = {
            **about,
            "test_ppl": perplexity(network, corpus.test, eos),
            "valid_ppl": records[-1].valid_ppl,
            "train_ppl": records[-1].train_ppl,
            "epochs": settings.epochs,
            "embedding_params": size.parameters,
            "bits": size.bits,
            "rate": size.rate(*shape),
            "rate_with_codes": size.rate_with_codes(*shape),
            "model_params": sum(p.numel() for p in network.parameters() if p.requires_grad),
            "words": len(corpus.words),
            "dim": settings.hidden,
            "wall_seconds": round(seconds, 1),
            "tokens_per_second": round(settings.epochs * len(corpus.train) / seconds),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "threads": conditions.threads,
            "precision": conditions.precision,
            "data_hash": corpus.digest[:16],
            **made_with,
            "products": product_library(),
            "spec": identity,
        }
        write_json(outputs.measurement, measured)
        checkpoint.unlink(missing_ok=True)
        log.info("%s: valid %.2f, test %.2f", title, measured["valid_ppl"], measured["test_ppl"])


def _with_room(
    work: Callable[[], Result], title: str, device: torch.device, stop: Callable[[], bool]
) -> Result:
    """What the work returns; where a GPU is too full for it, once others have left it.

    Raises:
        KDError: the GPU is too small for this work alone, or it was stopped while it waited.
    """
    while True:
        try:
            return work()
        except torch.OutOfMemoryError:
            needed = torch.cuda.max_memory_reserved(device)
        # Out of the handler, which holds what was on the GPU.
        gc.collect()
        torch.cuda.empty_cache()
        free, whole = torch.cuda.mem_get_info(device)
        gigabytes = f"{needed / 2**30:.1f} of its {whole / 2**30:.1f} GiB"
        if free > OWN_SHARE * whole:
            raise KDError(f"{title}: the GPU is too small for it alone, it took {gigabytes}")
        full = "%s: the GPU is full; waiting until other models leave %s"
        log.log(NOTICE, full, title, gigabytes)
        room = False
        while not room:
            if stop():
                raise KDError(f"{title}: stopped; the same command continues from the checkpoint")
            time.sleep(WAIT_SECONDS)
            room = torch.cuda.mem_get_info(device)[0] >= needed


def _is_there(measurement: Path, address: str) -> bool:
    return measurement.exists() and bool(read_json(measurement)["address"] == address)


def _write_curve(path: Path, records: list[EpochRecord]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(EpochRecord) if field.name != "seconds"]
    table.writerow(names)
    table.writerows(astuple(record)[: len(names)] for record in records)
    write_text(path, text.getvalue())


class _Reporter:
    def __init__(self, title: str):
        self.title, self.next = title, time.monotonic() + REPORT_SECONDS / 4

    def __call__(self, state: Progress | EpochRecord) -> None:
        if isinstance(state, EpochRecord):
            values = asdict(state) | {"title": self.title}
            log.info(
                "{title}: epoch {epoch} done, train {train_ppl:.1f}, valid {valid_ppl:.1f}".format(
                    **values
                )
            )
        elif time.monotonic() >= self.next:
            self.next = time.monotonic() + REPORT_SECONDS
            log.info(
                "%s: epoch %d of %d, %.0f %%, train %.1f, %.0f tokens/s, %s left",
                self.title, state.epoch, state.epochs, 100 * state.step / state.steps,
                state.train_ppl, state.tokens_per_second, duration(state.seconds_left),
            )  # fmt: skip
