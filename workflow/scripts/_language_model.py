"""Training and measuring one language model, whatever its input embedding."""

import csv
import io
import time
from dataclasses import asdict, astuple, fields
from pathlib import Path

import torch
from _continued import alone, terminated
from _script import log
from torch import nn

from kdcore.errors import KDError
from kdcore.files import fingerprint, read_json, write_json, write_text
from kdcore.tensors import save_tensors
from kdlab.corpus import EOS, Corpus
from kdlab.language_model import LanguageModel, perplexity
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.provenance import environment
from kdlab.training import EpochRecord, Progress, resolve_device, train

REPORT_SECONDS = 20


def fit(
    *,
    name: str,
    make_embedding,
    corpus: Corpus,
    settings: LanguageModelSettings,
    seed: int,
    compute: dict,
    scratch: Path,
    model: Path | None,
    curve: Path,
    measurement: Path,
    about: dict,
) -> None:
    """Train to the end, score on validation and test text, write model, curve and measurement.

    Where two processes are given the same run, as by a cluster that lost sight of the first, the
    second waits for the first and keeps what it made.

    Args:
        name: what the run is called in messages.
        make_embedding: called after seeding; makes the input embedding, told whether its
            weights come from a checkpoint.
        compute: `device`, `precision`, `threads`, `checkpoint_seconds`.
        scratch: folder of checkpoints, one file per identity of a run.
        model: file for the weights; None keeps none.
        about: what the measurement says of the run beside what is measured here; all of it is
            part of the run's identity.
    """
    device = resolve_device(compute["device"])
    torch.set_num_threads(compute["threads"])
    torch.use_deterministic_algorithms(device.type == "cpu")
    # Now: another commit may be checked out by the end.
    made_with = environment()
    identity = fingerprint(
        [about, settings.model_dump(), corpus.digest]
        + [compute[name] for name in ("device", "precision", "threads")]
    )
    checkpoint = scratch / f"{identity}.safetensors"
    with alone(checkpoint, name) as waited:
        if waited and measurement.exists() and read_json(measurement)["identity"] == identity:
            log.info("%s: the other process has finished it", name)
            return
        begun = checkpoint.exists()
        if begun:
            log.info("%s: continuing from a checkpoint", name)
        torch.manual_seed(seed)
        embedding = make_embedding(begun)
        network = LanguageModel(embedding, len(corpus.words), settings).to(device)
        records = train(
            network,
            corpus,
            settings,
            checkpoint=checkpoint,
            identity=identity,
            precision=compute["precision"],
            checkpoint_seconds=compute["checkpoint_seconds"],
            report=_Reporter(name),
            stop=terminated(),
        )
        if records is None:
            raise KDError(f"{name}: stopped; the same command continues from the checkpoint")
        _write_curve(curve, records)
        if model:
            header = {"kind": "language model", "identity": identity}
            save_tensors(model, network.state_dict(), header)
        seconds = records[-1].seconds
        tokens = settings.epochs * len(corpus.train)
        result = {
            **about,
            "test_ppl": perplexity(network, corpus.test, corpus.words.index(EOS)),
            "valid_ppl": records[-1].valid_ppl,
            "train_ppl": records[-1].train_ppl,
            "epochs": settings.epochs,
            "embedding_params": sum(p.numel() for p in embedding.parameters()),
            "model_params": sum(p.numel() for p in network.parameters() if p.requires_grad),
            "words": len(corpus.words),
            "dim": settings.hidden,
            "wall_seconds": round(seconds, 1),
            "tokens_per_second": round(tokens / seconds),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "threads": compute["threads"],
            "precision": compute["precision"],
            "data_hash": corpus.digest[:16],
            "settings": settings.model_dump(),
            "identity": identity,
            **made_with,
        }
        write_json(measurement, result)
        checkpoint.unlink(missing_ok=True)
        log.info("%s: valid %.2f, test %.2f", name, result["valid_ppl"], result["test_ppl"])


def _write_curve(path: Path, records: list[EpochRecord]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(EpochRecord) if field.name != "seconds"]
    table.writerow(names)
    table.writerows(astuple(record)[: len(names)] for record in records)
    write_text(path, text.getvalue())


class _Reporter:
    def __init__(self, name: str):
        self.name, self.next = name, time.monotonic() + REPORT_SECONDS / 4

    def __call__(self, state: Progress | EpochRecord) -> None:
        if isinstance(state, EpochRecord):
            values = asdict(state) | {"name": self.name}
            log.info(
                "{name}: epoch {epoch} done, train {train_ppl:.1f}, valid {valid_ppl:.1f}".format(
                    **values
                )
            )
        elif time.monotonic() >= self.next:
            self.next = time.monotonic() + REPORT_SECONDS
            log.info(
                "%s: epoch %d of %d, %.0f %%, train %.1f, %.0f tokens/s, %s left",
                self.name, state.epoch, state.epochs, 100 * state.step / state.steps,
                state.train_ppl, state.tokens_per_second, _duration(state.seconds_left),
            )  # fmt: skip


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def conventional(words: int, settings: LanguageModelSettings) -> nn.Embedding:
    """The full table, uniform in ±init_scale."""
    embedding = nn.Embedding(words, settings.hidden)
    nn.init.uniform_(embedding.weight, -settings.init_scale, settings.init_scale)
    return embedding
