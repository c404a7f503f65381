"""Algorithm 1 of the paper and its ablations: codes learned by gradient descent.

Every word has logits ô (D×K). The forward pass uses one_hot(argmax ô); the backward pass
uses the softmax of ô / T (straight-through estimator, Section 2.3). The loss is the squared
error between a word's vector and the vector its code composes.
"""

import hashlib
import math
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field

from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.files import fingerprint
from kdcore.fitting import set_rate
from kdcore.kinds import KindSettings, Section
from kdcore.learners import Control, LearnedCodes, LearnerInputs, warn_if_pointless
from kdcore.standardise import Standardisation, mean_and_weight
from kdcore.tensors import load_tensors, save_tensors
from kdcore.transforms import TRANSFORMS, Transform
from kdcore.vectors import relative_error

NUMERICS = 1
EXAMPLE: dict[str, object] = {"K": 4, "D": 3, "epochs": 3, "batch_size": 20}


class TemperatureSchedule(Section):
    """T_t = T0 / (1 + decay_rate · t), Section 3, with t counted in a unit of choice.

    Taken per minibatch, as "t is the iteration number" suggests, T falls so fast that the
    codes are frozen before they are any good; hence the staircase.
    """

    T0: float = Field(1.0, gt=0, description="temperature at the start")
    decay_rate: float = Field(1.0, ge=0, description="0 keeps the temperature constant")
    unit: Literal["step", "epoch"] = Field("epoch", description="what is counted")
    every: int = Field(5, gt=0, description="t grows by one after this many units")

    def at(self, step: int, epoch: int) -> float:
        """The temperature after `step` minibatches and `epoch` whole epochs, from 0."""
        t = (step if self.unit == "step" else epoch) // self.every
        return self.T0 / (1 + self.decay_rate * t)


class Settings(KindSettings):
    """How codes are learned by Algorithm 1."""

    K: int = Field(ge=2, description="values of an index")
    D: int = Field(ge=1, description="indices in a code")
    transform: Annotated[KindSettings, TRANSFORMS] = Field(
        default_factory=lambda: TRANSFORMS.parse({"kind": "linear"}),
        description="transform through which codes are learned; its init_scale is for vectors of "
        "unit root mean square",
    )
    epochs: int = Field(200, gt=0, description="passes over the words")
    batch_size: int = Field(200, gt=0, description="words in a minibatch")
    learning_rate: float = Field(
        0.02, gt=0, description="Adam's step size for the transform, falling linearly to 5 %"
    )
    code_rate: float = Field(0.1, gt=0, description="Adam's step size for the code logits")
    logit_scale: float = Field(
        0.01, gt=0, description="standard deviation of the logits at the start"
    )
    standardise: bool = Field(
        False,
        description="learn every component as if of mean 0 and variance 1; for a transform that "
        "can add an offset, such as the linear one without H",
    )
    estimator: Literal["straight_through", "soft"] = Field(
        "straight_through",
        description="forward pass with discrete codes, or with the softmax itself",
    )
    temperature: TemperatureSchedule = Field(
        default_factory=TemperatureSchedule, description="schedule of the softmax temperature"
    )

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"vectors"})


@dataclass(frozen=True)
class LearningRecord:
    """The state of code learning after an epoch.

    Attributes:
        epoch: epochs done.
        step: minibatches done.
        temperature: T of the last minibatch.
        loss: mean over the epoch of ‖v − v̂‖², as the estimator's forward pass sees it.
        error: relative squared error Σ‖v − v̂‖² / Σ‖v − mean‖² with the discrete codes; both of
            standardised vectors where codes are learned from these.
        changed: share of words whose code differs from the epoch before.
        entropy: mean bits per position; log2 K at best.
        used: smallest number of values in use at a position.
        unique: number of distinct codes.
    """

    epoch: int
    step: int
    temperature: float
    loss: float
    error: float
    changed: float
    entropy: float
    used: int
    unique: int


def straight_through(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Lines 3 to 5 of Algorithm 1: one-hot forward, tempered softmax backward.

    Args:
        logits: ô, shape (…, K).
        temperature: T.
    """
    soft = torch.softmax(logits / temperature, -1)
    hard = F.one_hot(logits.argmax(-1), logits.shape[-1]).to(soft.dtype)
    return (hard - soft).detach() + soft


def learn(
    settings: Settings, inputs: LearnerInputs, seed: int, control: Control
) -> LearnedCodes | None:
    """Codes, and the transform that composes vectors of the original size from them.

    Drawn on the CPU and computed on `inputs.device`. The checkpoint has 3·N·D·K numbers.

    Raises:
        KDError: bad vectors, `standardise` with a transform that cannot add an offset, learning
            that diverges, a checkpoint that is damaged or of other vectors or settings.

    Warns:
        UserWarning: the code has more values than there are words, or is no smaller than the
            table it replaces; the vectors' mean outweighs their spread ten times and the
            transform cannot add it.
    """
    vectors = inputs.given_vectors()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Transform = settings.transform.module.build(
            settings.transform, settings.K, settings.D, vectors.shape[1]
        ).float()
        # The learning's own from here on.
        generator = torch.Generator()
        generator.set_state(torch.get_rng_state())
    warn_if_pointless(vectors, settings.K, model.parameter_count())
    _warn_of_mean(vectors, model)
    standard = Standardisation.of(vectors, model, components=settings.standardise)
    targets = standard.apply(vectors).to(inputs.device)
    model = model.to(inputs.device)
    learning = _Learning(targets, standard.scale, model, settings, generator)
    checkpoint, identity = control.checkpoint, ""
    if checkpoint is not None:
        identity = _identity(vectors, seed, settings)
        if checkpoint.exists():
            learning.load(checkpoint, identity)
    saved = time.monotonic()
    while len(learning.history) < settings.epochs:
        learning.epoch()
        control.report(learning.history[-1], learning.indices.cpu())
        stopped = control.stop()
        done = stopped or len(learning.history) == settings.epochs
        if checkpoint is not None and (
            done or time.monotonic() - saved >= control.checkpoint_seconds
        ):
            learning.save(checkpoint, identity)
            saved = time.monotonic()
        if stopped:
            return None
    standard.fold_into(model.cpu())
    return LearnedCodes(Codes(learning.indices, settings.K), model, tuple(learning.history))


def _warn_of_mean(vectors: torch.Tensor, model: Transform) -> None:
    _, weight = mean_and_weight(vectors)
    if not model.can_add_offset and weight > 10:
        warnings.warn(
            f"the vectors' mean outweighs their spread {weight:.0f} times: centred, they would be "
            "learned better",
            stacklevel=4,
        )


class _Learning:
    """Algorithm 1 under way; between two epochs it can be stored and continued."""

    def __init__(
        self, targets: torch.Tensor, scale: float, model: Transform, settings: Settings,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        self.targets, self.scale = targets, scale
        self.model, self.settings, self.generator = model, settings, generator
        shape = (len(targets), model.D, model.K)
        drawn = settings.logit_scale * torch.randn(shape, generator=generator, dtype=targets.dtype)
        self.logits = drawn.to(targets.device)
        self.moments = _RowAdam(self.logits, settings.code_rate)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
        self.indices = self.logits.argmax(2)
        self.history: list[LearningRecord] = []

    def epoch(self) -> None:
        """One pass over the words."""
        settings, model, N = self.settings, self.model, len(self.targets)
        epoch, steps = len(self.history), math.ceil(N / settings.batch_size)
        step, T = epoch * steps, math.nan
        # Read once an epoch: a GPU is not waited for at every step.
        total = torch.zeros((), dtype=torch.float64, device=self.targets.device)
        order = torch.randperm(N, generator=self.generator).to(self.targets.device)
        for rows in order.split(settings.batch_size):
            T = settings.temperature.at(step, epoch)
            set_rate(self.optimizer, settings.learning_rate, step / (steps * settings.epochs))
            chosen = self.logits[rows].requires_grad_()
            if settings.estimator == "straight_through":
                weights = straight_through(chosen, T)
            else:
                weights = torch.softmax(chosen / T, 2)
            loss = (model.compose_soft(weights) - self.targets[rows]).square().sum(1).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            assert chosen.grad is not None
            self.moments.step(rows, chosen.grad, epoch + 1)
            total += loss.detach().double() * len(rows)
            step += 1
        if not math.isfinite(lost := total.item()):
            raise KDError(f"code learning diverged in epoch {epoch + 1}; lower the learning rate")
        new = self.logits.argmax(2)
        health = Codes(new, model.K).statistics()
        record = LearningRecord(
            epoch=epoch + 1,
            step=step,
            temperature=T,
            loss=lost / N * self.scale**2,
            error=relative_error(self.targets, model.compose_all(new)),
            changed=float((new != self.indices).any(1).double().mean()),
            entropy=sum(health.entropy) / model.D,
            used=min(health.used),
            unique=health.unique,
        )
        self.indices = new
        self.history.append(record)

    def _tensors(self) -> dict[str, torch.Tensor]:
        """All that an epoch changes but the history and the random state, not copied."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {"logits": self.logits, "indices": self.indices}
        tensors |= {"moments.first": self.moments.first, "moments.second": self.moments.second}
        for name, parameter in self.model.named_parameters():
            state = self.optimizer.state[parameter]
            tensors |= {f"adam.{name}.{key}": value for key, value in state.items()}
        return tensors

    def save(self, path: Path, identity: str) -> None:
        """Write a checkpoint."""
        header = {
            "kind": "code learning checkpoint",
            "identity": identity,
            "history": [asdict(record) for record in self.history],
        }
        save_tensors(path, self._tensors() | {"random": self.generator.get_state()}, header)

    def load(self, path: Path, identity: str) -> None:
        """Go on from a checkpoint."""
        try:
            needed = ("identity", "history", "random")
            tensors, header = load_tensors(path, "code learning checkpoint", needed)
            if header["identity"] != identity:
                raise KDError(f"{path}: of other vectors or settings")
            for parameter in self.model.parameters():
                zeros = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                self.optimizer.state[parameter] = {"step": torch.zeros(()), **zeros}
            for name, value in self._tensors().items():
                if name not in tensors or tensors[name].shape != value.shape:
                    raise KDError(f"{path}: damaged, {name!r} is missing or of another shape")
                value.copy_(tensors[name])
        except KDError as error:
            raise KDError(f"{error}; delete it to start over") from None
        self.generator.set_state(tensors["random"])
        self.history = [LearningRecord(**record) for record in header["history"]]


def _identity(vectors: torch.Tensor, seed: int, settings: Settings) -> str:
    """Names all that codes depend on."""
    data = hashlib.sha256(vectors.contiguous().numpy().tobytes()).hexdigest()
    versions = [NUMERICS, settings.transform.module.NUMERICS]
    return fingerprint([data, list(vectors.shape), versions, seed, settings.model_dump()])


class _RowAdam:
    """Adam for a table of which each step sees some rows; moments move for those alone."""

    def __init__(self, table: torch.Tensor, rate: float) -> None:
        self.table, self.rate = table, rate
        self.first, self.second = torch.zeros_like(table), torch.zeros_like(table)

    def step(self, rows: torch.Tensor, gradient: torch.Tensor, visits: int) -> None:
        """Move the given rows, each seen `visits` times by now."""
        # The loss is a mean over the batch; a word's own gradient is that of its own error.
        gradient = gradient * len(rows)
        first = self.first[rows].lerp_(gradient, 0.1)
        second = self.second[rows].lerp_(gradient.square(), 0.01)
        self.first[rows], self.second[rows] = first, second
        size = (second / (1 - 0.99**visits)).sqrt_().add_(1e-8)
        self.table[rows] -= self.rate * (first / (1 - 0.9**visits)) / size
