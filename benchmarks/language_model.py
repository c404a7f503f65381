"""Training speed of a model of the paper against a plain PyTorch loop and against the floor.

`python -m benchmarks.language_model` prints, for the small model on one CPU thread, tokens per
second, each variant's time over that of the conventional model, and how much of the time is the
floor: the arithmetic at the speed of a large matrix product on the same device, or the bytes at
the speed of a large copy, whichever takes longer.
`--size large --device cuda --precision bfloat16` does it for a GPU.

The plain loop is what PyTorch's word-language-model example does: embedding, LSTM, linear layer,
log-softmax, mean loss, gradient clipping, and an update in Python. Words are random: speed does
not depend on them, except that a real text repeats words more, which favours KD embeddings.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from kdcore import Codes, KDEmbedding
from kdcore.products import linear
from kdlab.language_model import LanguageModel
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.preset import Preset, read_preset
from kdlab.training import resolve_device, training_step

WORDS = 10_000


class PlainModel(nn.Module):
    """Embedding, LSTM and decoder, nothing else."""

    def __init__(self, settings: LanguageModelSettings):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, settings.hidden)
        self.lstm = nn.LSTM(settings.hidden, settings.hidden, settings.layers)
        self.decoder = nn.Linear(settings.hidden, WORDS)

    def forward(self, ids, state):
        outputs, state = self.lstm(self.embedding(ids), state)
        return F.log_softmax(self.decoder(outputs).view(-1, WORDS), dim=1), state


class Ours:
    """A training step as `kdcore.train` does it."""

    def __init__(self, embedding: nn.Module, settings: LanguageModelSettings, device, precision):
        self.model = LanguageModel(embedding, WORDS, settings).to(device)
        self.state = self.model.initial_state(settings.batch_size)
        self.options = {
            "rate": 0.1,
            "max_grad_norm": settings.max_grad_norm,
            "precision": precision,
        }

    def step(self, ids, targets):
        _, self.state = training_step(self.model, ids, targets, self.state, **self.options)


class Plain:
    """A training step as the example does it."""

    def __init__(self, settings: LanguageModelSettings, device):
        self.model = PlainModel(settings).to(device)
        shape = (settings.layers, settings.batch_size, settings.hidden)
        self.state = (torch.zeros(shape, device=device), torch.zeros(shape, device=device))
        self.max_grad_norm = settings.max_grad_norm

    def step(self, ids, targets):
        self.state = tuple(s.detach() for s in self.state)
        self.model.zero_grad()
        output, self.state = self.model(ids, self.state)
        F.nll_loss(output, targets.view(-1)).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
        for p in self.model.parameters():
            p.data.add_(p.grad, alpha=-0.1)


def zipf_ids(settings: LanguageModelSettings, generator: torch.Generator) -> torch.Tensor:
    """Word ids with the frequencies of Zipf's law, as text has them."""
    weights = 1.0 / torch.arange(1, WORDS + 1)
    shape = (settings.bptt + 1, settings.batch_size)
    flat = torch.multinomial(weights, shape[0] * shape[1], True, generator=generator)
    return flat.view(shape)


def make_variants(preset: Preset, size: str, device, precision) -> dict:
    """What takes turns; the transforms are those of the paper preset."""
    settings = preset.sizes[size]
    codes = Codes.random(WORDS, preset.table1.K, preset.table1.D, seed=0)
    found = {
        "conventional": nn.Embedding(WORDS, settings.hidden),
        "KD linear": KDEmbedding(
            codes, settings.hidden, "linear", **preset.kd_embedding.linear.arguments("linear")
        ),
    }
    for cell in ("counted", "printed"):
        chosen = preset.kd_embedding.lstm.model_copy(update={"cell": cell})
        found[f"KD LSTM, {cell}"] = KDEmbedding(
            codes, settings.hidden, "lstm", **chosen.arguments("lstm")
        )
    variants = {name: Ours(e, settings, device, precision) for name, e in found.items()}
    return variants | {"plain loop": Plain(settings, device)}


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def fastest(action: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of several runs."""
    times = []
    for _ in range(8):
        wait_for(device)
        begun = time.perf_counter()
        action()
        wait_for(device)
        times.append(time.perf_counter() - begun)
    return min(times)


def product_speed(device: torch.device, precision: str) -> float:
    """Operations per second of a large matrix product."""
    n = 8192 if device.type == "cuda" else 1024
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return 2 * n**3 / fastest(lambda: linear(a, b), device)


def copy_speed(device: torch.device) -> float:
    """Bytes per second of a large copy, read and written."""
    source = torch.zeros(
        2**30 if device.type == "cuda" else 2**27, dtype=torch.uint8, device=device
    )
    target = torch.empty_like(source)
    return 2 * source.numel() / fastest(lambda: target.copy_(source), device)


def operations(settings: LanguageModelSettings) -> float:
    """Of a training step's products: two a multiply-add, forward and twice that backward."""
    a_token = settings.layers * 8 * settings.hidden**2 + settings.hidden * WORDS
    return 6 * a_token * settings.bptt * settings.batch_size


def traffic(settings: LanguageModelSettings, precision: str) -> float:
    """Bytes that a training step of the conventional model moves where no cache keeps weights.

    The recurrent weights are read at each of the dependent steps, there and back; the update reads
    every gradient and weight and writes the weight.
    """
    recurrent = settings.layers * 4 * settings.hidden**2
    weights = 2 * recurrent + 2 * settings.hidden * WORDS
    width = 2 if precision == "bfloat16" else 4
    return 2 * settings.bptt * recurrent * width + 3 * 4 * weights


def main() -> None:
    """Print one line per variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("config/paper.yaml"))
    parser.add_argument("--size", default="small", help="a model size of that preset")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=15, help="training steps in a turn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = resolve_device(arguments.device)
    preset = read_preset(arguments.config)
    settings = preset.sizes[arguments.size]
    variants = make_variants(preset, arguments.size, device, arguments.precision)
    generator = torch.Generator().manual_seed(0)
    seconds = {name: [] for name in variants}
    for turn in range(arguments.rounds + 1):
        text = [zipf_ids(settings, generator).to(device) for _ in range(arguments.steps)]
        for name, variant in variants.items():
            wait_for(device)
            begun = time.perf_counter()
            for ids in text:
                variant.step(ids[:-1], ids[1:])
            wait_for(device)
            if turn:  # the first turn warms up
                seconds[name].append((time.perf_counter() - begun) / arguments.steps)
    tokens = settings.bptt * settings.batch_size
    speed, copied = product_speed(device, arguments.precision), copy_speed(device)
    work, moved = operations(settings), traffic(settings, arguments.precision)
    floor = max(work / speed, moved / copied)
    print(
        f"{arguments.size} model, a step of {tokens} tokens: {work / 1e9:.1f} GFLOP, "
        f"{1000 * work / speed:.1f} ms at {speed / 1e9:.0f} GFLOP/s of a large product; "
        f"{moved / 1e9:.2f} GB, {1000 * moved / copied:.1f} ms at {copied / 1e9:.0f} GB/s of a copy"
    )
    print(f"{'':20}{'ms/step':>9}{'tokens/s':>10}{'of floor':>10}  time over conventional (median)")
    for name, times in seconds.items():
        ratio = statistics.median(
            a / b for a, b in zip(times, seconds["conventional"], strict=True)
        )
        middle = statistics.median(times)
        figures = f"{1000 * middle:9.1f}{tokens / middle:10.0f}{floor / middle:10.0%}"
        print(f"{name:20}{figures}  {ratio:.2f}")


if __name__ == "__main__":
    main()
