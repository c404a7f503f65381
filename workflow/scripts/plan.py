"""Say what a target would compute, what is there already, and how long the rest would take.

Times a few training steps of each model size here; changes nothing. A model counts as measured
when it was with the preset's settings; whether the code has changed since is what
`snakemake -n` says.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import _script
import torch
import typer
from snakemake.utils import available_cpu_count
from torch import nn

from kdcore.errors import KDError
from kdcore.files import read_json
from kdlab.compute import device_of, precision_of
from kdlab.language_model import LanguageModel
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.measured import other_than_cell, other_than_variant
from kdlab.own import tokens_about
from kdlab.preset import (
    TRANSFORMS,
    Cell,
    Preset,
    Variant,
    all_cells,
    pretrained_for,
    read_preset,
    sweep_cells,
    table1_cells,
    table2_cells,
)
from kdlab.training import Precision, resolve_device, training_step

# Words of the Penn Treebank; a text of one's own is taken to have as many.
WORDS = 10_000
# What Snakemake can be asked for, and for each model size table1_<size> and codes_<size>.
TARGETS = ("all", "data", "baselines", "embeddings", "codes", "retrained", "ablations", "table2",
           "figure2", "figure3", "claims")  # fmt: skip
# A small model's training step with a KD embedding over one with a table, by benchmarks/.
FACTOR = {"none": 1.0, "linear": 1.05, "lstm": 1.6}


def main(
    config: Annotated[Path, typer.Option(help="preset file")] = Path("config/paper.yaml"),
    cores: Annotated[str, typer.Option(help="cores to use, a number or all")] = "all",
    target: Annotated[str, typer.Option(help="what Snakemake would be asked for")] = "all",
) -> None:
    _script.start_log(None)
    preset = read_preset(config)
    models = wanted(preset, target)
    left = [model for model in models if not model.done]
    _script.log.info(
        "Preset %s, %s: %d language models, %d measured, %d to train",
        preset.preset, target, len(models), len(models) - len(left), len(left),
    )  # fmt: skip
    tokens = tokens_about(preset)
    count = available_cpu_count() if cores == "all" else int(cores)
    device, threads = resolve_device(device_of(preset.compute)), preset.compute.threads
    workers = 1 if device.type == "cuda" else max(1, count // threads)
    total = 0.0
    for size, count in Counter(model.size for model in left).items():
        settings = preset.sizes[size]
        precision = precision_of(preset.compute, device.type, size)
        speed = tokens_per_second(settings, device, precision, threads)
        hours = sum(
            FACTOR[kind] * settings.epochs * tokens / speed / 3600
            for kind in (TRANSFORMS.get(m.transform, "none") for m in left if m.size == size)
        )
        total += hours
        _script.log.info(
            "  %s: %d models of %d epochs at %.0f tokens/s: %s of one %s",
            size, count, settings.epochs, speed, duration(hours), device.type,
        )  # fmt: skip
    if begun := len(list(Path("runs", preset.preset, "scratch").glob("[!.]*.safetensors"))):
        _script.log.info("  Less, if it continues from a checkpoint: %d lie there.", begun)
    if left:
        _script.log.info(
            "About %s with %d side by side; everything else takes minutes.",
            duration(total / workers), workers,
        )  # fmt: skip
        _script.log.info("It can be stopped at any time; the same command continues.")


@dataclass(frozen=True)
class Model:
    """A language model to train, and whether it has been."""

    size: str
    transform: str
    done: bool


def wanted(preset: Preset, target: str = "all") -> list[Model]:
    """Every model that a target needs.

    Raises:
        KDError: the target is not one of the documented ones.
    """
    cells, chosen = cells_of(preset, target), None
    if preset.ablations and target in ("all", "ablations", "retrained", "baselines", "embeddings"):
        baseline = Cell(preset.ablations.baseline, "none", "none", None, None, 1)
        cells = list(dict.fromkeys([baseline, *cells]))
        chosen = preset.ablations if target in ("all", "ablations", "retrained") else None
    models = [
        Model(c.size, c.transform, _measured(preset, c.folder, other_than_cell, c)) for c in cells
    ]
    if chosen:
        models += [
            Model(
                chosen.size_of(v), v.transform,
                _measured(preset, f"ablations/{v.name}", other_than_variant, v),
            )
            for v in chosen.variants
        ]  # fmt: skip
    return models


def cells_of(preset: Preset, target: str) -> list[Cell]:
    """The models of a target, those that codes are learned from included.

    Raises:
        KDError: the target is not one of the documented ones, or of a model size that there is not.
    """
    cells = all_cells(preset)
    kind, _, size = target.partition("_")
    if target not in TARGETS and not (kind in ("table1", "codes") and size):
        raise KDError(f"no plan of {target!r}: {', '.join(TARGETS)}, table1_<size>, codes_<size>")
    if size and size not in preset.sizes:
        raise KDError(f"{target}: model size {size!r} is not defined in sizes")
    if not cells or target in ("data", "figure2", "ablations"):
        return []
    if target == "table2":
        return table2_cells(preset)
    if size:
        cells = table1_cells(preset, [size])
    elif target == "figure3":
        cells = sweep_cells(preset)
    learned_from = pretrained_for(preset, cells)
    of_table2 = [] if size else table2_cells(preset)
    if kind == "codes":
        # A transform that is fitted to vectors comes after the codes.
        learned_from = pretrained_for(preset, [cell for cell in cells if cell.codes != "random"])
    if kind in ("embeddings", "codes"):
        return list(dict.fromkeys(learned_from + of_table2))
    if target == "baselines":
        cells = [cell for cell in cells if cell.codes == "none"]
    return list(dict.fromkeys(learned_from + cells))


def _measured(preset: Preset, folder: str, other_than: Callable, model: Cell | Variant) -> bool:
    path = Path("runs", preset.preset, folder, "measurement.json")
    return path.exists() and not other_than(read_json(path), preset, model)


def duration(hours: float) -> str:
    """Hours, or minutes below two hours."""
    return f"{hours:.0f} h" if hours >= 2 else f"{max(1, round(60 * hours))} min"


def tokens_per_second(
    settings: LanguageModelSettings, device: torch.device, precision: Precision, threads: int
) -> float:
    """Speed of the conventional model here, on random words."""
    torch.set_num_threads(threads)
    model = LanguageModel(nn.Embedding(WORDS, settings.hidden), WORDS, settings).to(device)
    state = model.initial_state(settings.batch)
    ids = torch.randint(WORDS, (settings.steps + 1, settings.batch), device=device)
    steps, begun = 0, time.perf_counter()
    while steps < 2 or time.perf_counter() - begun < 2:
        if steps == 1:
            begun = time.perf_counter()  # the first step also sets things up
        loss, state = training_step(
            model, ids[:-1], ids[1:], state, rate=0.01, clip=settings.clip, precision=precision
        )
        float(loss)
        steps += 1
    return (steps - 1) * settings.steps * settings.batch / (time.perf_counter() - begun)


if __name__ == "__main__":
    _script.run(main)
