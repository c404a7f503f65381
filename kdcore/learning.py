"""Learning codes from pretrained vectors: Algorithm 1 of the paper and its ablations.

Every symbol has logits ô (D×K). The forward pass uses one_hot(argmax ô); the backward pass
uses the softmax of ô / T (straight-through estimator, Section 2.3). The loss is the squared
error between a symbol's vector and the vector its code composes.
"""

import hashlib
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.files import fingerprint
from kdcore.fitting import set_rate
from kdcore.refinement import RefinementRecord, check_counts, refine_codes
from kdcore.settings.codes import CodeLearningSettings
from kdcore.tensors import load_tensors, save_tensors
from kdcore.transforms import TRANSFORMS, LinearTransform, Transform
from kdcore.vectors import check_vectors, mean_and_weight, relative_error, root_mean_square


@dataclass(frozen=True)
class LearningRecord:
    """The state of code learning after an epoch.

    Attributes:
        epoch, step: epochs and minibatches done.
        temperature: T of the last minibatch.
        loss: mean over the epoch of ‖v − v̂‖², as the estimator's forward pass sees it.
        error: relative squared error Σ‖v − v̂‖² / Σ‖v − mean‖² with the discrete codes; both of
            standardised vectors where codes are learned from these.
        changed: share of symbols whose code differs from the epoch before.
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


@dataclass(frozen=True)
class LearnedCodes:
    """Codes, the transform that decodes them, and how learning and refining went."""

    codes: Codes
    transform: Transform
    history: tuple[LearningRecord, ...]
    refinement: tuple[RefinementRecord, ...] = ()


def straight_through(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Lines 3 to 5 of Algorithm 1: one-hot forward, tempered softmax backward.

    Args:
        logits: ô, shape (…, K).
        temperature: T.
    """
    soft = torch.softmax(logits / temperature, -1)
    hard = F.one_hot(logits.argmax(-1), logits.shape[-1]).to(soft.dtype)
    return (hard - soft).detach() + soft


def learn_codes(
    vectors: torch.Tensor | np.ndarray,
    K: int,
    D: int,
    *,
    transform: str = "linear",
    seed: int = 0,
    counts: torch.Tensor | np.ndarray | None = None,
    report: Callable[[LearningRecord, torch.Tensor], None] = lambda record, symbols: None,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 60.0,
    stop: Callable[[], bool] = lambda: False,
    **settings,
) -> LearnedCodes | None:
    """Learn a K-way D-dimensional code for every row of a table of vectors (Algorithm 1).

    With `transform="linear"` and D = 1 this is k-means by gradient descent. With
    `refinement={}`, the codes are then refined (`refine_codes`): a fifth to a third less error in
    a quarter of the time, and a linear transform without H that composes the vectors, whatever
    transform and d′ the codes were learned through.

    Vectors whose mean outweighs their spread, ‖mean‖² > mean ‖v − mean‖², are learned without it
    by a linear transform that has no H; its W^j take it in afterwards. With `standardise=True` it
    learns every component as if of mean 0 and variance 1, so that a few large ones do not decide
    the codes.

    Args:
        vectors: pretrained embeddings v, shape (N, d).
        K, D: shape of the code.
        transform: a name in `kdcore.TRANSFORMS`.
        seed: of every random choice; equal seeds give equal codes on the same machine.
        counts: for the refinement: how often each symbol occurs, shape (N,).
        report: called after each epoch with its record and the symbols, int64 (N, D); what it
            draws at random has no say in the codes.
        checkpoint: file to continue from, if it is there, and to write every
            `checkpoint_seconds` and after the last epoch. A continued run ends with the same
            codes and weights, to the last bit, as an undisturbed one. It has 3·N·D·K numbers. A
            refinement begins again.
        stop: asked after each epoch and each round of a refinement; when true, the checkpoint is
            written and None returned.
        settings: fields of `CodeLearningSettings`; `temperature` and `refinement` may be
            mappings.

    Returns:
        The codes and the transform that composes vectors of the original scale from them, both on
        the CPU, where all of it is computed. None when stopped before the end.

    Raises:
        KDError: vectors that are not finite or not a table, K < 2, D < 1, an unknown
            transform or setting, a cell for a transform that has none, `standardise` with an H;
            counts that are not those of the symbols, or without refinement; a checkpoint that is
            damaged or of other vectors or settings.

    Warns:
        UserWarning: the code has more values than there are symbols, or is no smaller than
            the table it replaces; the vectors' mean outweighs their spread ten times and the
            transform cannot take it in.
    """
    vectors = check_vectors(vectors)
    try:
        settings = CodeLearningSettings(**settings)
    except ValidationError as error:
        raise KDError.of_settings(error, "code learning") from None
    if transform not in TRANSFORMS:
        known = ", ".join(sorted(TRANSFORMS))
        raise KDError(f"transform {transform!r} is unknown; there are: {known}")
    options = {"code_dim": settings.code_dim, "init_scale": settings.init_scale}
    if transform == "lstm":
        options["cell"] = settings.cell
    elif settings.cell != "counted":
        raise KDError(f"cell {settings.cell!r} is for the LSTM transform, not the {transform} one")
    if counts is not None:
        if not settings.refinement:
            raise KDError("counts are for a refinement, and none is asked for")
        check_counts(counts, len(vectors))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TRANSFORMS[transform](K, D, vectors.shape[1], **options)
        # The learning's own from here on.
        generator = torch.Generator()
        generator.set_state(torch.get_rng_state())
    _warn_if_pointless(vectors, model, settings)
    mean, spread = _to_take_in(vectors, model, settings)
    targets = vectors if mean is None else vectors - mean
    targets = targets if spread is None else targets / spread
    learning = _Learning(targets, model, settings, generator)
    if checkpoint is not None:
        checkpoint, identity = Path(checkpoint), _identity(vectors, model, seed, settings)
        if checkpoint.exists():
            learning.load(checkpoint, identity)
    saved = time.monotonic()
    while len(learning.history) < settings.epochs:
        learning.epoch()
        report(learning.history[-1], learning.symbols)
        stopped = stop()
        done = stopped or len(learning.history) == settings.epochs
        if checkpoint is not None and (done or time.monotonic() - saved >= checkpoint_seconds):
            learning.save(checkpoint, identity)
            saved = time.monotonic()
        if stopped:
            return None
    codes, refinement = Codes(learning.symbols, K), ()
    model.rescale(learning.scale)
    if settings.refinement:
        refined = refine_codes(
            vectors if spread is None else targets, codes, counts=counts, seed=seed, stop=stop,
            **dict(settings.refinement),
        )  # fmt: skip
        if refined is None:
            return None
        codes, model, refinement = refined.codes, refined.transform, refined.history
        # Refinement takes in a mean by itself.
        mean = None if spread is None else mean
    with torch.no_grad():
        if spread is not None:
            model.W *= spread
        if mean is not None:
            model.W += mean / D
    return LearnedCodes(codes, model, tuple(learning.history), refinement)


def _to_take_in(
    vectors: torch.Tensor, model: Transform, settings: CodeLearningSettings
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """What is taken out of the vectors, for W to compose: their mean, their components' spread.

    The spread where it is asked for, the mean then too, or where it outweighs the spread: step
    sizes go by the size of the vectors, and a large mean would make them too small for the rest.
    """
    mean, weight = mean_and_weight(vectors)
    takes_in = isinstance(model, LinearTransform) and model.H is None
    if settings.standardise:
        if not takes_in:
            raise KDError("standardise is for a linear transform without H")
        # Squares of large or small vectors leave float32.
        spread = torch.linalg.vector_norm(vectors - mean, dim=0, dtype=torch.float64)
        spread = (spread / math.sqrt(len(vectors))).to(vectors.dtype)
        # A component that is the same for all symbols is composed by the mean alone.
        return mean, torch.where(spread > 0, spread, 1.0)
    if takes_in:
        return (mean if weight > 1 else None), None
    if weight > 10:
        warnings.warn(
            f"the vectors' mean outweighs their spread {weight:.0f} times: centred, they would be "
            "learned better",
            stacklevel=3,
        )
    return None, None


def _warn_if_pointless(
    vectors: torch.Tensor, model: Transform, settings: CodeLearningSettings
) -> None:
    # A refinement ends in a linear transform without H.
    size = model.K * model.D * model.dim if settings.refinement else model.parameter_count()
    if len(vectors) < model.K:
        warnings.warn(
            f"{len(vectors)} symbols are fewer than the K = {model.K} values of a position",
            stacklevel=3,
        )
    elif size >= vectors.numel():
        warnings.warn(
            f"the code's {size} parameters do not save anything over the table's {vectors.numel()}",
            stacklevel=3,
        )


class _Learning:
    """Algorithm 1 under way; between two epochs it can be stored and continued."""

    def __init__(
        self, vectors: torch.Tensor, model: Transform, settings: CodeLearningSettings,
        generator: torch.Generator,
    ):  # fmt: skip
        # Step sizes are meant for vectors of unit root mean square.
        self.scale = root_mean_square(vectors)
        self.targets = vectors / self.scale
        self.model, self.settings, self.generator = model, settings, generator
        shape = (len(vectors), model.D, model.K)
        self.logits = settings.logit_scale * torch.randn(shape, generator=generator)
        self.moments = _RowAdam(self.logits, settings.code_rate)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
        self.symbols = self.logits.argmax(2)
        self.history: list[LearningRecord] = []

    def epoch(self) -> None:
        """One pass over the symbols."""
        settings, model, N = self.settings, self.model, len(self.targets)
        epoch, steps = len(self.history), math.ceil(N / settings.batch)
        step, total = epoch * steps, 0.0
        for rows in torch.randperm(N, generator=self.generator).split(settings.batch):
            T = settings.temperature.at(step, epoch)
            set_rate(self.optimizer, settings.learning_rate, step / (steps * settings.epochs))
            chosen = self.logits[rows].requires_grad_()
            if settings.estimator == "straight_through":
                weights = straight_through(chosen, T)
            else:
                weights = torch.softmax(chosen / T, 2)
            loss = (model.mix(weights) - self.targets[rows]).square().sum(1).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.moments.step(rows, chosen.grad, epoch + 1)
            total += loss.item() * len(rows)
            step += 1
        if not math.isfinite(total):
            raise KDError(f"code learning diverged in epoch {epoch + 1}; lower the learning rate")
        new = self.logits.argmax(2)
        health = Codes(new, model.K).statistics()
        record = LearningRecord(
            epoch=epoch + 1,
            step=step,
            temperature=T,
            loss=total / N * self.scale**2,
            error=relative_error(self.targets, model.table(new)),
            changed=float((new != self.symbols).any(1).double().mean()),
            entropy=sum(health.entropy) / model.D,
            used=min(health.used),
            unique=health.unique,
        )
        self.symbols = new
        self.history.append(record)

    def _tensors(self) -> dict[str, torch.Tensor]:
        """All that an epoch changes but the history and the random state, not copied."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {"logits": self.logits, "symbols": self.symbols}
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


def _identity(vectors: torch.Tensor, model: Transform, seed: int, settings) -> str:
    """Names all that codes depend on but the code itself."""
    data = hashlib.sha256(vectors.contiguous().numpy().tobytes()).hexdigest()
    of_model = [type(model).__name__, model.K, model.D, list(vectors.shape)]
    return fingerprint([data, of_model, seed, settings.model_dump(exclude={"refinement"})])


class _RowAdam:
    """Adam for a table of which each step sees some rows; moments move for those alone."""

    def __init__(self, table: torch.Tensor, rate: float):
        self.table, self.rate = table, rate
        self.first, self.second = torch.zeros_like(table), torch.zeros_like(table)

    def step(self, rows: torch.Tensor, gradient: torch.Tensor, visits: int) -> None:
        """Move the given rows, each seen `visits` times by now."""
        # The loss is a mean over the batch; a symbol's own gradient is that of its own error.
        gradient = gradient * len(rows)
        first = self.first[rows].lerp_(gradient, 0.1)
        second = self.second[rows].lerp_(gradient.square(), 0.01)
        self.first[rows], self.second[rows] = first, second
        size = (second / (1 - 0.99**visits)).sqrt_().add_(1e-8)
        self.table[rows] -= self.rate * (first / (1 - 0.9**visits)) / size
