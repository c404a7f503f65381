"""Settings of code learning and of the KD embedding."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Cell = Literal["printed", "counted"]


class TemperatureSchedule(BaseModel):
    """T_t = T0 / (1 + decay_rate · t), Section 3, with t counted in a unit of choice.

    Taken per minibatch, as "t is the iteration number" suggests, T falls so fast that the
    codes are frozen before they are any good; hence the staircase.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    T0: float = Field(1.0, gt=0, description="temperature at the start")
    decay_rate: float = Field(1.0, ge=0, description="0 keeps the temperature constant")
    unit: Literal["step", "epoch"] = Field("epoch", description="what is counted")
    every: int = Field(5, gt=0, description="t grows by one after this many units")

    def at(self, step: int, epoch: int) -> float:
        """The temperature after `step` minibatches and `epoch` whole epochs, from 0."""
        t = (step if self.unit == "step" else epoch) // self.every
        return self.T0 / (1 + self.decay_rate * t)


class RefinementSettings(BaseModel):
    """How learned codes are refined for sums of code embeddings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rounds: int = Field(
        60, gt=0, description="times that code embeddings and codes are improved in turn"
    )
    sweeps: int = Field(2, gt=0, description="passes over the positions of a code in a round")
    noise: float = Field(
        0.05,
        ge=0,
        description="standard deviation of the noise on code embeddings at the start, as a share "
        "of that of the vectors; its square falls linearly, to zero after the last round",
    )
    count_power: float = Field(
        0.5,
        ge=0,
        description="a symbol's error counts by its number of occurrences to this power",
    )


class CodeLearningSettings(BaseModel):
    """How codes are learned from vectors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    epochs: int = Field(200, gt=0, description="passes over the symbols")
    batch: int = Field(200, gt=0, description="symbols in a minibatch")
    learning_rate: float = Field(
        0.02, gt=0, description="Adam's step size for the transform, falling linearly to 5 %"
    )
    code_rate: float = Field(0.1, gt=0, description="Adam's step size for the code logits")
    logit_scale: float = Field(
        0.01, gt=0, description="standard deviation of the logits at the start"
    )
    init_scale: float = Field(
        0.1,
        gt=0,
        description="code embeddings start uniform in ±init_scale, for vectors of unit RMS",
    )
    code_dim: int | None = Field(None, gt=0, description="size d′ of a code embedding; null is d")
    cell: Cell = Field("counted", description="cell of the LSTM transform")
    standardise: bool = Field(
        False,
        description="learn and refine every component as if of mean 0 and variance 1; for the "
        "linear transform without H",
    )
    estimator: Literal["straight_through", "soft"] = Field(
        "straight_through",
        description="forward pass with discrete codes, or with the softmax itself",
    )
    temperature: TemperatureSchedule = Field(
        default_factory=TemperatureSchedule, description="schedule of the softmax temperature"
    )
    refinement: RefinementSettings | None = Field(
        None, description="how the codes are refined afterwards; null: not"
    )


class FitSettings(BaseModel):
    """How a transform is fitted to pretrained vectors while the codes stay."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    epochs: int = Field(30, gt=0, description="passes over the symbols")
    batch: int = Field(200, gt=0, description="symbols in a minibatch")
    learning_rate: float = Field(
        0.005, gt=0, description="Adam's step size, falling linearly to 5 %"
    )


class KDEmbeddingSettings(BaseModel):
    """The KD embedding with which a language model is retrained."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    code_dim: int | None = Field(None, gt=0, description="size d′ of a code embedding; null is d")
    init_scale: float = Field(gt=0, description="code embeddings start uniform in ±init_scale")
    normalise: bool = Field(
        False, description="standardise what enters H over the symbols of a batch; no H, no effect"
    )
    cell: Cell = Field("counted", description="cell of the LSTM transform")
    gradient_scale: float = Field(
        1.0,
        gt=0,
        description="the transform's gradient is multiplied by this before gradients are clipped",
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of a word's code embedding vectors left out in training, drawn anew for "
        "each batch",
    )
    fit: FitSettings | None = Field(
        None,
        description="start from a least-squares fit to the pretrained vectors from which codes "
        "are learned; null starts at random",
    )

    def arguments(self, transform: str) -> dict:
        """Keyword arguments of `KDEmbedding` for the named transform.

        A cell that is not the default stays, for the transform to refuse if it has none.
        """
        values = self.model_dump(exclude={"fit"})
        if transform != "lstm" and self.cell == "counted":
            values.pop("cell")
        return values
