"""Training a language model by SGD, in a loop that can be killed at any instant.

The recipe is that of Zaremba et al. (2014): truncated back-propagation through time with
the hidden state carried across batches, one global gradient norm, a step size that decays
by epoch.
"""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from kdcore.errors import KDError
from kdcore.products import denormals_are_zero
from kdcore.tensors import load_tensors, save_tensors
from kdlab.corpus import EOS, Corpus, batches
from kdlab.language_model import LanguageModel, State, exp, perplexity
from kdlab.language_model_settings import LanguageModelSettings

Precision = Literal["float32", "bfloat16"]
# What a checkpoint holds beside the model.
CHECKPOINT = (
    "state.h", "state.c", "loss_sum", "random.cpu", "identity", "records", "position", "seconds",
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


def clipped_sgd_step(
    parameters: Iterable[torch.nn.Parameter], rate: float, max_grad_norm: float
) -> None:
    """p ← p − rate · g · min(1, max_grad_norm / ‖g‖), ‖g‖ over all gradients together; clears them.

    On a GPU nothing is read back; on a CPU the scaling and the update are one pass.
    """
    parameters = [p for p in parameters if p.grad is not None]
    gradients = [p.grad for p in parameters]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    scale = -rate * torch.clamp(max_grad_norm / (norm + 1e-6), max=1.0)
    with torch.no_grad():
        if norm.device.type == "cpu":
            step = scale.item()
            for p, g in zip(parameters, gradients, strict=True):
                p.add_(g, alpha=step)
        else:
            torch._foreach_mul_(gradients, scale)
            torch._foreach_add_(parameters, gradients)
    for p in parameters:
        p.grad = None


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

    Nothing is read back from a GPU. Under bfloat16 autocast weights, their gradients and the loss
    stay as they are; the softmax's products are in bfloat16, and cuDNN's LSTM is in float16,
    because autocast casts it to that whatever type it is asked for.

    Args:
        ids, targets: word ids, (bptt, batch_size) each.
        state: from `LanguageModel.initial_state` or the previous step.
        rate: SGD step size.
        max_grad_norm: largest global norm of the gradient.

    Returns:
        The loss of `LanguageModel.loss` and the new state, neither with a graph behind it.
    """
    halved = precision == "bfloat16"
    with torch.autocast(ids.device.type, torch.bfloat16) if halved else nullcontext():
        loss, (h, c) = model.loss(ids, targets, state)
    loss.backward()
    clipped_sgd_step(model.parameters(), rate, max_grad_norm)
    return loss.detach(), (h.detach(), c.detach())


@denormals_are_zero()
def train(
    model: LanguageModel,
    corpus: Corpus,
    settings: LanguageModelSettings,
    *,
    checkpoint: str | Path,
    identity: str,
    precision: Precision = "float32",
    checkpoint_seconds: float = 60.0,
    report: Callable[[Progress | EpochRecord], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[EpochRecord] | None:
    """Train a model to the end of its schedule, continuing from a checkpoint if there is one.

    On a CPU a continued run ends with the same bytes as an undisturbed one: weights, epoch,
    position, hidden state, loss so far and random state are all in the checkpoint. On a GPU sums
    are not ordered, and cuDNN keeps the random state of the dropout between LSTM layers to itself:
    a continued run is the same up to rounding without dropout, and like another seed's with it.

    Dropout draws from PyTorch's global generator, and the model is left in training mode.

    Args:
        model: initialised, on its device; holds the trained weights afterwards.
        corpus: the text; the validation split is scored after every epoch.
        checkpoint: file to continue from and to write every `checkpoint_seconds` and at the end.
        identity: names everything the run depends on; a checkpoint of another identity is
            refused.
        precision: of training; see `training_step`. Scores are computed in float32.
        report: called about once a second with a `Progress`, after each epoch with its
            `EpochRecord`.
        stop: asked once a second; when true, a checkpoint is written and None returned.

    Returns:
        One record per epoch, or None when stopped before the end.

    Raises:
        KDError: the checkpoint belongs to other settings or is damaged; the loss is not finite;
            the precision is unknown; the training split is too short.
    """
    if precision not in get_args(Precision):
        raise KDError(f"precision {precision!r} is unknown; use 'float32' or 'bfloat16'")
    device = model.weight.device
    data = batches(corpus.train, settings.batch_size).to(device)
    steps = (len(data) - 1) // settings.bptt
    if steps == 0:
        raise KDError(
            f"the training split has {len(corpus.train)} tokens, too few for "
            f"{settings.batch_size} streams of {settings.bptt} steps"
        )
    eos = corpus.words.index(EOS)
    records: list[EpochRecord] = []
    position = 0
    state = model.initial_state(settings.batch_size)
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    spent = 0.0

    if Path(checkpoint).exists():
        try:
            tensors, header = load_tensors(checkpoint, "checkpoint", CHECKPOINT)
        except KDError as error:
            raise KDError(f"{error}; delete it to start over") from None
        if header["identity"] != identity:
            raise KDError(
                f"{checkpoint}: belongs to a run with other settings; delete it to start over"
            )
        try:
            model.load_state_dict(
                {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
            )
        except RuntimeError:
            raise KDError(
                f"{checkpoint}: belongs to another model; delete it to start over"
            ) from None
        state = (tensors["state.h"].to(device), tensors["state.c"].to(device))
        loss_sum = tensors["loss_sum"].to(device)
        _set_random_state(tensors, device)
        records = [EpochRecord(**record) for record in header["records"]]
        position, spent = header["position"], header["seconds"]

    def save() -> None:
        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        tensors |= {"state.h": state[0], "state.c": state[1], "loss_sum": loss_sum}
        header = {
            "kind": "checkpoint",
            "identity": identity,
            "records": [asdict(record) for record in records],
            "position": position,
            "seconds": spent + time.monotonic() - begun,
        }
        save_tensors(checkpoint, tensors | _random_state(device), header)

    begun = told = saved = time.monotonic()
    done_here = 0
    model.train()
    while len(records) < settings.epochs:
        epoch = len(records) + 1
        rate = settings.rate(epoch)
        while position < steps:
            first = position * settings.bptt
            loss, state = training_step(
                model,
                data[first : first + settings.bptt],
                data[first + 1 : first + 1 + settings.bptt],
                state,
                rate=rate,
                max_grad_norm=settings.max_grad_norm,
                precision=precision,
            )
            loss_sum += loss
            position += 1
            done_here += 1
            now = time.monotonic()
            if now - told >= 1.0:
                told = now
                mean = float(loss_sum) / (position * settings.bptt)
                _check_finite(mean, epoch)
                left = (settings.epochs - epoch + 1) * steps - position
                report(
                    Progress(
                        epoch,
                        settings.epochs,
                        position,
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
        mean = float(loss_sum) / (steps * settings.bptt)
        _check_finite(mean, epoch)
        valid = perplexity(model, corpus.valid, eos)
        _check_finite(valid, epoch)
        seconds = spent + time.monotonic() - begun
        records.append(EpochRecord(epoch, rate, exp(mean), valid, seconds))
        report(records[-1])
        position = 0
        state = model.initial_state(settings.batch_size)
        loss_sum = torch.zeros_like(loss_sum)
        now = time.monotonic()
        if epoch == settings.epochs or now - saved >= checkpoint_seconds:
            save()
            saved = now
    return records


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
