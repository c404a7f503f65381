"""Training a language model by SGD, in a loop that can be killed at any instant.

The recipe is that of Zaremba et al. (2014): truncated back-propagation through time with
the hidden state carried across batches, one global gradient norm, a step size that decays
by epoch.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from kdcore.errors import KDError
from kdcore.products import denormals_are_zero, product_library, use_product_library
from kdcore.tensors import load_tensors, save_tensors
from kdlab.corpus import EOS, Corpus, batches
from kdlab.language_model import LanguageModel, State, exp, perplexity
from kdlab.language_model_settings import LanguageModelSettings

Precision = Literal["float32", "bfloat16"]
# What a checkpoint holds beside the model.
CHECKPOINT = (
    "state.h", "state.c", "loss_sum", "random.cpu", "identity", "records", "position", "seconds",
    "precision", "device", "products",
)  # fmt: skip


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of training ended with; perplexities are exp of nats per token."""

    epoch: int
    rate: float
    train_ppl: float
    valid_ppl: float
    seconds: float


@dataclass(frozen=True)
class Progress:
    """Where a running epoch stands."""

    epoch: int
    epochs: int
    step: int
    steps: int
    train_ppl: float
    tokens_per_second: float
    seconds_left: float


def resolve_device(name: str) -> torch.device:
    """The named device.

    Raises:
        KDError: CUDA is asked for and absent, or the name is unknown.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise KDError(f"device {name!r} is unknown; use 'cpu' or 'cuda'") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise KDError("device 'cuda' was asked for, but PyTorch sees no CUDA device; set 'cpu'")
    return device


def check_precision(precision: str, device: torch.device) -> None:
    """Whether training in this precision is possible on the device.

    Raises:
        KDError: the precision is unknown, or the processor or GPU has no products of bfloat16
            numbers.
    """
    if precision not in get_args(Precision):
        raise KDError(f"precision must be 'float32' or 'bfloat16', got {precision!r}")
    if precision == "bfloat16" and not has_bfloat16(device):
        what = "this GPU has" if device.type == "cuda" else "this processor has"
        raise KDError(f"precision must be 'float32' where {what} no bfloat16, got 'bfloat16'")


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies matrices of bfloat16 numbers faster than of float32 ones."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )


def clipped_sgd_step(
    parameters: Iterable[torch.nn.Parameter], rate: float, max_grad_norm: float
) -> None:
    """p ← p − rate · g · min(1, max_grad_norm / ‖g‖), ‖g‖ over all gradients together; clears them.

    On a GPU nothing is read back; on a CPU the scaling and the update are one pass.
    """
    trained: list[torch.Tensor] = []
    gradients: list[torch.Tensor] = []
    for p in parameters:
        if p.grad is not None:
            trained.append(p)
            gradients.append(p.grad)
            p.grad = None
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    scale = -rate * torch.clamp(max_grad_norm / (norm + 1e-6), max=1.0)
    with torch.no_grad():
        if norm.device.type == "cpu":
            step = scale.item()
            for weight, gradient in zip(trained, gradients, strict=True):
                weight.add_(gradient, alpha=step)
        else:
            torch._foreach_mul_(gradients, scale)
            torch._foreach_add_(trained, gradients)


def training_step(
    model: LanguageModel,
    ids: torch.Tensor,
    targets: torch.Tensor,
    state: State,
    *,
    rate: float,
    max_grad_norm: float,
    precision: Precision = "float32",
) -> tuple[torch.Tensor, State]:
    """One step of truncated back-propagation: loss, gradient, clipped update.

    Nothing is read back from a GPU. In bfloat16 the matrix products are of bfloat16 numbers;
    weights, their gradients, gates, cells and the loss stay as they are. On a GPU it is autocast
    that does this, and cuDNN's LSTM is in float16, because autocast casts it to that whatever it
    is asked for.

    Args:
        ids, targets: word ids, (bptt, batch_size) each.
        state: from `LanguageModel.initial_state` or the previous step.
        rate: SGD step size.
        max_grad_norm: largest global norm of the gradient.

    Returns:
        The loss of `LanguageModel.loss`, without what the embedding adds to it, and the new state;
        neither with a graph behind it.
    """
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    halved = dtype != torch.float32 and not ids.is_cpu
    with torch.autocast(ids.device.type, dtype) if halved else nullcontext():
        loss, (h, c) = model.loss(ids, targets, state, torch.float32 if halved else dtype)
    extra = model.extra_loss()
    (loss if extra is None else loss + extra).backward()
    model.own_step(rate)
    clipped_sgd_step(model.parameters(), rate, max_grad_norm)
    return loss.detach(), (h.detach(), c.detach())


@contextmanager
def memory_as_it_comes() -> Iterator[None]:
    """Meanwhile, new memory is not filled, which deterministic algorithms do by default.

    Filling guards against reading what nobody has written; it took a tenth of a step.
    """
    flags: Any = torch.utils.deterministic
    before = flags.fill_uninitialized_memory
    flags.fill_uninitialized_memory = False
    try:
        yield
    finally:
        flags.fill_uninitialized_memory = before


@dataclass
class _Standing:
    """Where a training stands: what a checkpoint holds beside the weights.

    Attributes:
        records: of the epochs that are done.
        position: steps that are done of the next one.
        state: hidden and cell state after them.
        loss_sum: the sum of their losses, float64, on the model's device.
        seconds: that processes before this one have spent.
    """

    records: list[EpochRecord]
    position: int
    state: State
    loss_sum: torch.Tensor
    seconds: float


def _begin(
    model: LanguageModel, batch_size: int, checkpoint: str | Path, identity: str, precision: str
) -> _Standing:
    """Where a training begins: at its checkpoint, whose weights and random state are taken over.

    Raises:
        KDError: the checkpoint is damaged, or is not this training's.
    """
    device = model.weight.device
    if not Path(checkpoint).exists():
        nothing = torch.zeros((), dtype=torch.float64, device=device)
        return _Standing([], 0, model.initial_state(batch_size), nothing, 0.0)
    try:
        tensors, header = load_tensors(checkpoint, "checkpoint", CHECKPOINT)
    except KDError as error:
        raise KDError(f"{error}; delete it to start over") from None
    for what, here in (("precision", precision), ("device", device.type)):
        if header[what] != here:
            raise KDError(
                f"{checkpoint}: {what} must be {here!r}, got {header[what]!r}; "
                "delete it to start over"
            )
    if header["identity"] != identity:
        raise KDError(
            f"{checkpoint}: belongs to a run with other settings; delete it to start over"
        )
    try:
        model.load_state_dict(
            {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        )
    except RuntimeError:
        raise KDError(f"{checkpoint}: belongs to another model; delete it to start over") from None
    use_product_library(header["products"])
    _set_random_state(tensors, device)
    return _Standing(
        [EpochRecord(**record) for record in header["records"]],
        header["position"],
        (tensors["state.h"].to(device), tensors["state.c"].to(device)),
        tensors["loss_sum"].to(device),
        header["seconds"],
    )


def _save(
    model: LanguageModel,
    standing: _Standing,
    seconds: float,
    checkpoint: str | Path,
    identity: str,
    precision: str,
) -> None:
    """Write a checkpoint; `seconds` have been spent on the training so far."""
    device = model.weight.device
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    h, c = standing.state
    tensors |= {"state.h": h, "state.c": c, "loss_sum": standing.loss_sum}
    header = {
        "kind": "checkpoint",
        "identity": identity,
        "precision": precision,
        "device": device.type,
        "products": product_library(),
        "records": [asdict(record) for record in standing.records],
        "position": standing.position,
        "seconds": seconds,
    }
    save_tensors(checkpoint, tensors | _random_state(device), header)


@memory_as_it_comes()
@denormals_are_zero()
def train(
    model: LanguageModel,
    corpus: Corpus,
    settings: LanguageModelSettings,
    *,
    checkpoint: str | Path,
    identity: str,
    precision: Precision = "float32",
    valid_streams: int = 1,
    checkpoint_seconds: float = 60.0,
    report: Callable[[Progress | EpochRecord], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[EpochRecord] | None:
    """Train a model to the end of its schedule, continuing from a checkpoint if there is one.

    On a CPU a continued run ends with the same bytes as an undisturbed one: weights, epoch,
    position, hidden state, loss so far, random state and the library of float32 products are all in
    the checkpoint; `kdcore.products.product_library()` says afterwards which library it was. On a
    GPU sums are not ordered, and cuDNN keeps the random state of the dropout between LSTM layers to
    itself: a continued run is the same up to rounding without dropout, and like another seed's with
    it.

    Dropout draws from PyTorch's global generator, and the model is left in training mode.

    Args:
        model: initialised, on its device; holds the trained weights afterwards.
        corpus: the text; the validation split is scored after every epoch.
        checkpoint: file to continue from and to write every `checkpoint_seconds` and at the end.
        identity: names everything the run depends on; a checkpoint of another identity is
            refused.
        precision: of training; see `training_step`. Scores are computed in float32.
        valid_streams: parts in which the validation text is scored side by side, see `perplexity`;
            after the last epoch it is one. A large model reads one stream at a fraction of the
            speed.
        report: called about once a second with a `Progress`, after each epoch with its
            `EpochRecord`.
        stop: asked once a second; when true, a checkpoint is written and None returned.

    Returns:
        One record per epoch, or None when stopped before the end.

    Raises:
        KDError: the checkpoint belongs to other settings, another precision or device, or is
            damaged; the loss is not finite; the precision is unknown or not to be had; the training
            split is too short.
    """
    device = model.weight.device
    check_precision(precision, device)
    data = batches(corpus.train, settings.batch_size).to(device)
    steps = (len(data) - 1) // settings.bptt
    if steps == 0:
        raise KDError(
            f"the training split has {len(corpus.train)} tokens, too few for "
            f"{settings.batch_size} streams of {settings.bptt} steps"
        )
    eos = corpus.words.index(EOS)
    at = _begin(model, settings.batch_size, checkpoint, identity, precision)

    def spent() -> float:
        return at.seconds + time.monotonic() - begun

    def save() -> None:
        _save(model, at, spent(), checkpoint, identity, precision)

    begun = told = saved = time.monotonic()
    done_here = 0
    model.train()
    while len(at.records) < settings.epochs:
        epoch = len(at.records) + 1
        rate = settings.rate(epoch)
        while at.position < steps:
            first = at.position * settings.bptt
            loss, at.state = training_step(
                model,
                data[first : first + settings.bptt],
                data[first + 1 : first + 1 + settings.bptt],
                at.state,
                rate=rate,
                max_grad_norm=settings.max_grad_norm,
                precision=precision,
            )
            at.loss_sum += loss
            at.position += 1
            done_here += 1
            now = time.monotonic()
            if now - told >= 1.0:
                told = now
                mean = float(at.loss_sum) / (at.position * settings.bptt)
                _check_finite(mean, epoch)
                left = (settings.epochs - epoch + 1) * steps - at.position
                report(
                    Progress(
                        epoch,
                        settings.epochs,
                        at.position,
                        steps,
                        exp(mean),
                        done_here * settings.batch_size * settings.bptt / (now - begun),
                        left * (now - begun) / done_here,
                    )
                )
                if stop():
                    save()
                    return None
                if now - saved >= checkpoint_seconds:
                    save()
                    saved = time.monotonic()
        mean = float(at.loss_sum) / (steps * settings.bptt)
        _check_finite(mean, epoch)
        streams = valid_streams if epoch < settings.epochs else 1
        valid = perplexity(model, corpus.valid, eos, streams=streams)
        _check_finite(valid, epoch)
        at.records.append(EpochRecord(epoch, rate, exp(mean), valid, spent()))
        report(at.records[-1])
        at.position = 0
        at.state = model.initial_state(settings.batch_size)
        at.loss_sum = torch.zeros_like(at.loss_sum)
        now = time.monotonic()
        if epoch == settings.epochs or now - saved >= checkpoint_seconds:
            save()
            saved = now
    return at.records


def _check_finite(mean_loss: float, epoch: int) -> None:
    if not math.isfinite(mean_loss):
        raise KDError(f"the loss is not finite in epoch {epoch}; lower the learning rate")


def _random_state(device: torch.device) -> dict[str, torch.Tensor]:
    states = {"random.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["random.cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_state(tensors: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(tensors["random.cpu"])
    if device.type == "cuda" and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"], device)
