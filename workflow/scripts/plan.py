"""Say what a target would compute, what is there already, and how long the rest would take.

Times a few training steps of each language model here; changes nothing.
"""

import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import _script
import torch
import typer
from snakemake.utils import available_cpu_count

from kdcore.durations import duration
from kdcore.embeddings import EMBEDDINGS, EmbeddingInputs
from kdcore.errors import KDError
from kdlab.compute import device_of, precision_of
from kdlab.language_model import LanguageModel
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.planning import Plan
from kdlab.training import Precision, resolve_device, training_step

# Words of the Penn Treebank; a text of one's own is taken to have as many.
WORDS = 10_000


def main(
    config: Annotated[Path, typer.Option(help="preset file")] = Path("config/paper.yaml"),
    cores: Annotated[str, typer.Option(help="cores to use, a number or all")] = "all",
    target: Annotated[str, typer.Option(help="what Snakemake would be asked for")] = "all",
    names: Annotated[bool, typer.Option("--list", help="also list every model")] = False,
) -> None:
    _script.start_log(None)
    workers = count(cores)
    plan = Plan.of(config)
    models = plan.models_of(target)
    left = plan.to_train(target)
    models = list(dict.fromkeys([*models, *left]))
    _script.log.info(
        "Preset %s, %s: %d language models, %d measured, %d to train",
        plan.experiment.name, target, len(models), len(models) - len(left), len(left),
    )  # fmt: skip
    published = plan.preset.published
    if again := sum(run.exists("measurement.json", published) for run in left):
        _script.log.info(
            "  %d of these are measured, and trained for their weights, which are not here.", again
        )
    if names:
        for run in models:
            state = "to train" if run in left else "measured"
            _script.log.info("  %s  %-8s  %s", run.address, state, run.title)
    compute = plan.preset.compute
    device = resolve_device(device_of(compute))
    side_by_side = 1 if device.type == "cuda" else max(1, workers // compute.threads)
    total = 0.0
    for name, number in Counter(run.names["model"] for run in left).items():
        settings = plan.preset.models[name].settings
        precision = precision_of(compute, device.type, name)
        speed = tokens_per_second(settings, device, precision, compute.threads)
        hours = number * settings.epochs * plan.tokens / speed / 3600
        total += hours
        _script.log.info(
            "  %s: %d models of %d epochs at %.0f tokens/s in %s: %s of one %s",
            name, number, settings.epochs, speed, precision, duration(3600 * hours), device.type,
        )  # fmt: skip
    if begun := len(list(Path("runs/scratch").glob("[!.]*.safetensors"))):
        _script.log.info("  Less, if it continues from a checkpoint: %d lie there.", begun)
    if tables := plan.compressions_of(target):
        _script.log.info(
            "  %d tables of word vectors to compress: seconds to minutes each", len(tables)
        )
    if left:
        _script.log.info(
            "About %s with %d side by side; everything else takes minutes.",
            duration(3600 * total / side_by_side), side_by_side,
        )  # fmt: skip
        _script.log.info("It can be stopped at any time; the same command continues.")


def count(cores: str) -> int:
    """How many cores are meant.

    Raises:
        KDError: neither a number above 0 nor `all`.
    """
    if cores == "all":
        return int(available_cpu_count())
    if not cores.isdigit() or int(cores) < 1:
        raise KDError(f"cores must be a number above 0 or all, got {cores!r}")
    return int(cores)


def tokens_per_second(
    settings: LanguageModelSettings, device: torch.device, precision: Precision, threads: int
) -> float:
    """Speed with a full table here, on random words; codes cost 5 to 60 % more."""
    torch.set_num_threads(threads)
    table = EMBEDDINGS.parse({"kind": "table"})
    embedding = table.module.build(table, WORDS, settings.hidden, EmbeddingInputs())
    model = LanguageModel(embedding, WORDS, settings).to(device)
    state = model.initial_state(settings.batch_size)
    ids = torch.randint(WORDS, (settings.bptt + 1, settings.batch_size), device=device)
    steps, begun = 0, time.perf_counter()
    while steps < 2 or time.perf_counter() - begun < 2:
        if steps == 1:
            begun = time.perf_counter()  # the first step also sets things up
        loss, state = training_step(
            model, ids[:-1], ids[1:], state,
            rate=0.01, max_grad_norm=settings.max_grad_norm, precision=precision,
        )  # fmt: skip
        float(loss)
        steps += 1
    return (steps - 1) * settings.bptt * settings.batch_size / (time.perf_counter() - begun)


if __name__ == "__main__":
    _script.run(main)
