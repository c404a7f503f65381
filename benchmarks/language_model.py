"""Training speed of a model of the paper against a plain PyTorch loop and against the floor.

`python -m benchmarks.language_model` prints, for the small model on one CPU thread, tokens per
second, each variant's time over that of the conventional model, and how much of the time is the
floor: the arithmetic at the speed of a large matrix product on the same device, or the bytes at
the speed of a large copy, whichever takes longer.
`--model large --precision bfloat16` does it for the large model in bfloat16, and `--profile` then
names what a step's time goes to; `--device cuda` measures a GPU.

Times on a CPU are of this process alone, so that other work on the machine counts little; it still
takes its share of caches and memory.

The plain loop is what PyTorch's word-language-model example does: embedding, LSTM, linear layer,
log-softmax, mean loss, gradient clipping, and an update in Python, in float32. Words are random:
speed does not depend on them, except that a real text repeats words more, which favours KD
embeddings.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from kdcore.codes import Codes
from kdcore.embeddings import EMBEDDINGS, EmbeddingInputs
from kdcore.files import write_text
from kdcore.products import denormals_are_zero, linear, product_library
from kdlab.experiment import Experiment, load_experiment
from kdlab.language_model import LanguageModel
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.provenance import environment
from kdlab.training import check_precision, memory_as_it_comes, resolve_device, training_step

WORDS = 10_000


class PlainModel(nn.Module):
    """Embedding, LSTM and decoder, nothing else."""

    def __init__(self, settings: LanguageModelSettings):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, settings.hidden)
        self.dropout = nn.Dropout(settings.dropout)
        self.lstm = nn.LSTM(
            settings.hidden, settings.hidden, settings.layers, dropout=settings.dropout
        )
        self.decoder = nn.Linear(settings.hidden, WORDS)

    def forward(self, ids, state):
        outputs, state = self.lstm(self.dropout(self.embedding(ids)), state)
        return F.log_softmax(self.decoder(self.dropout(outputs)).view(-1, WORDS), dim=1), state


class Ours:
    """A training step as `kdlab.training.train` does it."""

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


def make_variants(experiment: Experiment, model: str, device, precision) -> dict:
    """What takes turns: a table, KD embeddings with random codes, and the plain loop."""
    settings = experiment.preset.models[model].settings
    codes = Codes.random(WORDS, 50, 10, seed=0)
    variants = {}
    for method in ("conventional", "random-linear", "random-lstm"):
        chosen = EMBEDDINGS.parse(experiment.model(model, method, 1).settings["embedding"])
        inputs = EmbeddingInputs(
            codes=codes if "codes" in chosen.needs else None,
            vectors=torch.zeros(WORDS, settings.hidden),
            restoring=True,  # a fit to vectors would take long, and does not change the speed
        )
        embedding = chosen.module.build(chosen, WORDS, settings.hidden, inputs)
        variants[method] = Ours(embedding, settings, device, precision)
    return variants | {"plain loop": Plain(settings, device)}


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def now(device: torch.device) -> float:
    """Seconds: of this thread's work on a CPU, else of the clock."""
    return time.thread_time() if device.type == "cpu" else time.perf_counter()


def fastest(action: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of several runs."""
    times = []
    for _ in range(8):
        wait_for(device)
        begun = now(device)
        action()
        wait_for(device)
        times.append(now(device) - begun)
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


def read_speed(device: torch.device, size: int) -> float:
    """Bytes per second of reading as many bytes over and over, from whatever cache holds them."""
    source = torch.zeros(size // 4, device=device)
    return source.nbytes / fastest(lambda: torch.dot(source, source), device)


def operations(settings: LanguageModelSettings) -> float:
    """Of a training step's products: two a multiply-add, forward and twice that backward."""
    a_token = settings.layers * 8 * settings.hidden**2 + settings.hidden * WORDS
    return 6 * a_token * settings.bptt * settings.batch_size


def recurrent_operations(settings: LanguageModelSettings) -> float:
    """Those of them that a time step has to wait for: h Wᵀ, there and back."""
    a_token = settings.layers * 4 * settings.hidden**2
    return 4 * a_token * settings.bptt * settings.batch_size


def recurrent_traffic(settings: LanguageModelSettings, precision: str) -> float:
    """Bytes of the recurrent weights, read at each of the dependent steps, there and back."""
    width = 2 if precision == "bfloat16" else 4
    return 2 * settings.bptt * settings.layers * 4 * settings.hidden**2 * width


def update_traffic(settings: LanguageModelSettings) -> float:
    """Bytes of an update of the conventional model: gradients and weights read, weights written."""
    return 3 * 4 * (settings.layers * 8 * settings.hidden**2 + 2 * settings.hidden * WORDS)


class OperationTimes(TorchDispatchMode):
    """Thread seconds and calls of every operation, by name and shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[str, list[float]] = defaultdict(list)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        begun = time.thread_time()
        result = func(*args, **(kwargs or {}))
        seconds = time.thread_time() - begun
        tensors = [a for a in args if isinstance(a, torch.Tensor)]
        shapes = " ".join("x".join(map(str, a.shape)) for a in tensors[:3])
        types_ = "/".join(sorted({str(a.dtype).removeprefix("torch.") for a in tensors}))
        self.times[f"{func} {shapes} {types_}"].append(seconds)
        return result


def print_profile(variant: Ours, text: list[torch.Tensor], rows: int = 25) -> None:
    """What a step's time goes to, the dearest operations first."""
    best: dict[str, tuple[float, int]] = {}
    whole = float("inf")
    for ids in text:
        begun = time.thread_time()
        with OperationTimes() as mode:
            variant.step(ids[:-1], ids[1:])
        whole = min(whole, time.thread_time() - begun)
        for name, times in mode.times.items():
            seconds = min(sum(times), best.get(name, (float("inf"), 0))[0])
            best[name] = (seconds, len(times))
    known = sum(seconds for seconds, _ in best.values())
    print(f"a step of {1000 * whole:.0f} ms while it is taken apart; operations take")
    for name, (seconds, calls) in sorted(best.items(), key=lambda item: -item[1][0])[:rows]:
        print(f"{1000 * seconds:9.1f} ms {seconds / known:6.1%} {calls:5}  {name}")


@memory_as_it_comes()
@denormals_are_zero()
def main() -> None:
    """Print one line per variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("config/paper.yaml"))
    parser.add_argument("--model", default="small", help="a model of that preset")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=15, help="training steps in a turn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--out", type=Path, help="where a row for each variant is written, .csv")
    parser.add_argument("--profile", action="store_true", help="name what a step's time goes to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = resolve_device(arguments.device)
    check_precision(arguments.precision, device)
    experiment = load_experiment(arguments.config)
    settings = experiment.preset.models[arguments.model].settings
    variants = make_variants(experiment, arguments.model, device, arguments.precision)
    generator = torch.Generator().manual_seed(0)
    seconds = {name: [] for name in variants}
    for turn in range(arguments.rounds + 1):
        text = [zipf_ids(settings, generator).to(device) for _ in range(arguments.steps)]
        for name, variant in variants.items():
            wait_for(device)
            begun = now(device)
            for ids in text:
                variant.step(ids[:-1], ids[1:])
            wait_for(device)
            if turn:  # the first turn warms up
                seconds[name].append((now(device) - begun) / arguments.steps)
    tokens = settings.bptt * settings.batch_size
    speed, copied = product_speed(device, arguments.precision), copy_speed(device)
    work = operations(settings)
    recurrent = recurrent_traffic(settings, arguments.precision)
    read = read_speed(device, int(recurrent) // (2 * settings.bptt * settings.layers))
    moved = recurrent + update_traffic(settings)
    floor = max(work / speed, moved / copied)
    # What one thread cannot do at the same time, were all of it as fast as it can be.
    waited = max(recurrent / read, recurrent_operations(settings) / speed)
    bound = (work - recurrent_operations(settings)) / speed + waited
    bound += update_traffic(settings) / copied
    made_with = environment()
    on_cpu = device.type == "cpu"
    where = made_with["processor"] if on_cpu else torch.cuda.get_device_name(device)
    print(f"{where}, {arguments.precision}, float32 products by {product_library()}")
    print(
        f"{arguments.model} model, a step of {tokens} tokens: {work / 1e9:.1f} GFLOP, "
        f"{1000 * work / speed:.1f} ms at {speed / 1e9:.0f} GFLOP/s of a large product; "
        f"{moved / 1e9:.2f} GB, {1000 * moved / copied:.1f} ms at {copied / 1e9:.0f} GB/s of a copy"
    )
    print(
        f"bound, one after the other: {1000 * bound:.0f} ms, of them {1000 * waited:.0f} ms for "
        f"recurrent weights read at {read / 1e9:.0f} GB/s at each time step, and "
        f"{1000 * update_traffic(settings) / copied:.0f} ms for the update"
    )
    print(f"{'':20}{'ms/step':>9}{'tokens/s':>10}{'of floor':>10}  time over conventional (median)")
    rows = []
    for name, times in seconds.items():
        ratio = statistics.median(
            a / b for a, b in zip(times, seconds["conventional"], strict=True)
        )
        middle = statistics.median(times)
        figures = f"{1000 * middle:9.1f}{tokens / middle:10.0f}{floor / middle:10.0%}"
        print(f"{name:20}{figures}  {ratio:.2f}")
        rows.append(
            {
                "model": arguments.model, "precision": arguments.precision, "device": where,
                "variant": name, "milliseconds": round(1000 * middle, 1),
                "tokens_per_second": round(tokens / middle),
                "share_of_floor": round(floor / middle, 2), "over_conventional": round(ratio, 2),
                "bound_milliseconds": round(1000 * bound),
                "products": product_library(), "rounds": arguments.rounds,
                "steps": arguments.steps,
            }
            | made_with
        )  # fmt: skip
    if arguments.out:
        write_text(arguments.out, pd.DataFrame(rows).to_csv(index=False))
    if arguments.profile:
        print_profile(variants["conventional"], text)


if __name__ == "__main__":
    main()
