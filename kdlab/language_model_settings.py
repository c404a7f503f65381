"""Settings of the language model and its training."""

from pydantic import Field

from kdcore.kinds import Section


class LanguageModelSettings(Section):
    """One model size and how it is trained."""

    hidden: int = Field(gt=0, description="units of each LSTM layer, and embedding size d")
    layers: int = Field(2, gt=0, description="LSTM layers")
    init_scale: float = Field(gt=0, description="weights start uniform in ±init_scale")
    dropout: float = Field(
        ge=0, lt=1, description="share of units dropped, on non-recurrent connections"
    )
    word_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of words dropped from the input in training, drawn anew for each batch",
    )
    batch_size: int = Field(20, gt=0, description="parallel streams in training")
    bptt: int = Field(gt=0, description="time steps of truncated back-propagation")
    learning_rate: float = Field(1.0, gt=0, description="SGD step size of the first epochs")
    full_rate_epochs: int = Field(ge=0, description="epochs before the rate decays")
    decay: float = Field(gt=0, le=1, description="factor on the rate in each later epoch")
    epochs: int = Field(gt=0, description="passes over the training split")
    max_grad_norm: float = Field(gt=0, description="largest global norm of the gradient")

    def rate(self, epoch: int) -> float:
        """The SGD step size in an epoch; epochs count from 1."""
        return self.learning_rate * self.decay ** max(0, epoch - self.full_rate_epochs)
