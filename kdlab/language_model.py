"""The word-level LSTM language model of Section 3: embedding → LSTM layers → softmax.

Sizes, initialisation and dropout follow Zaremba et al., "Recurrent Neural Network
Regularization" (2014), whose small and large models the paper retrains. Dropout of words at the
input, which none of these has, is that of Gal and Ghahramani, "A Theoretically Grounded Application
of Dropout in Recurrent Neural Networks" (2016): a word is left out at all its places in a batch.
"""

import math
from collections.abc import Iterator

import torch
from torch import nn

from kdcore.embeddings import Embedding
from kdcore.errors import KDError
from kdcore.products import denormals_are_zero, linear
from kdlab.buffers import Buffers
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.lstm import State, dropped, lstm
from kdlab.softmax import cross_entropy_sum


class LanguageModel(nn.Module):
    """P(next word | words so far), with any module as the input embedding.

    Only the input embedding is ever replaced by codes; the softmax layer stays full.

    Args:
        embedding: maps word ids of any shape (…) to vectors (…, hidden).
        vocabulary: number of words N.
        settings: sizes; see `LanguageModelSettings`.

    Raises:
        KDError: the embedding says that its vectors have another size than `hidden`.
    """

    def __init__(self, embedding: nn.Module, vocabulary: int, settings: LanguageModelSettings):
        super().__init__()
        size = getattr(embedding, "embedding_dim", settings.hidden)
        if size != settings.hidden:
            raise KDError(f"the embedding's vectors have size {size}, hidden is {settings.hidden}")
        self.embedding = embedding
        self.lstm = nn.LSTM(settings.hidden, settings.hidden, settings.layers)
        self.weight = nn.Parameter(torch.empty(vocabulary, settings.hidden))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.dropout = nn.Dropout(settings.dropout)
        self.word_dropout = settings.word_dropout
        self.kept = Buffers()
        # nn.LSTM drops between its layers; the input and the output are dropped here.
        self.lstm.dropout = settings.dropout
        for name, parameter in self.lstm.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
            else:
                nn.init.uniform_(parameter, -settings.init_scale, settings.init_scale)
            if "bias_hh" in name:
                # One bias per gate: PyTorch's second one stays at zero.
                parameter.requires_grad_(False)
        nn.init.uniform_(self.weight, -settings.init_scale, settings.init_scale)

    def initial_state(self, batch_size: int) -> State:
        """Hidden and cell state of zeros, each (layers, batch_size, hidden)."""
        shape = (self.lstm.num_layers, batch_size, self.lstm.hidden_size)
        return self.weight.new_zeros(shape), self.weight.new_zeros(shape)

    def forward(
        self, ids: torch.Tensor, state: State, dtype: torch.dtype = torch.float32
    ) -> tuple[torch.Tensor, State]:
        """Outputs of the top layer and the new state.

        In training on a CPU the outputs lie in memory that the next call writes anew.

        Args:
            ids: word ids, (bptt, batch_size).
            state: from `initial_state` or the previous call.
            dtype: of the matrix products, in training on a CPU; on a GPU autocast says it.

        Returns:
            Outputs (bptt, batch_size, hidden) and the state.
        """
        vectors = self.embedding(ids)
        if self.training and self.word_dropout > 0:
            kept = nn.functional.dropout(self.bias.new_ones(len(self.bias), 1), self.word_dropout)
            vectors = vectors * nn.functional.embedding(ids, kept)
        if not (self.training and ids.is_cpu) or torch.is_autocast_enabled("cpu"):
            outputs, state = self.lstm(self.dropout(vectors), state)
            return self.dropout(outputs), state
        vectors = dropped(vectors, self.dropout.p, dtype)
        outputs, state = lstm(self.lstm, vectors, state, dtype, self.kept)
        return dropped(outputs, self.dropout.p, dtype), state

    def loss(
        self,
        ids: torch.Tensor,
        targets: torch.Tensor,
        state: State,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[torch.Tensor, State]:
        """Negative log-likelihood, the sum over time of the mean over the batch.

        Args:
            ids, targets: word ids, (bptt, batch_size) each.
            state: from `initial_state` or the previous call.
            dtype: see `forward`.
        """
        outputs, state = self(ids, state, dtype)
        total = cross_entropy_sum(
            outputs.flatten(0, 1),
            self.weight,
            self.bias,
            targets.flatten(),
            None if dtype == torch.float32 else dtype,
            self.kept,
        )
        return total / ids.shape[1], state

    def extra_loss(self) -> torch.Tensor | None:
        """What training adds to `loss`: see `kdcore.embeddings.Embedding.extra_loss`."""
        return self.embedding.extra_loss() if isinstance(self.embedding, Embedding) else None

    def own_step(self, rate: float) -> None:
        """What the embedding moves by itself: see `kdcore.embeddings.Embedding.own_step`."""
        if isinstance(self.embedding, Embedding):
            self.embedding.own_step(rate)


@denormals_are_zero()
@torch.no_grad()
def perplexity(
    model: LanguageModel, stream: torch.Tensor, start: int, chunk: int = 1000, streams: int = 1
) -> float:
    """exp of the mean negative log-likelihood over every token of a stream.

    The stream is read once, in order, as a single sequence with carried state; the word
    before the first is taken to be `start`. Cut into several streams it is read many times as
    fast by a large model, and each of them begins without a state.

    Args:
        stream: word ids, shape (n,).
        start: id of `<eos>`.
        chunk: words read between two uses of the output layer; does not change the result.
        streams: equal parts of the stream that are read side by side.

    Raises:
        KDError: the stream is empty.
    """
    if len(stream) == 0:
        raise KDError("an empty stream has no perplexity")
    training = model.training
    model.eval()
    total = 0.0
    for ids, targets, state in _chunks(model, stream, start, chunk, streams):
        outputs, new_state = model(ids, state)
        for old, new in zip(state, new_state, strict=True):
            old.copy_(new)
        logits = linear(outputs.flatten(0, 1), model.weight, model.bias).float()
        words = targets.flatten()
        picked = logits.gather(1, words.clamp(min=0)[:, None]).squeeze(1)
        losses = (logits.logsumexp(1) - picked).masked_fill(words < 0, 0)
        total += float(losses.double().sum())
    model.train(training)
    return exp(total / len(stream))


def exp(nats: float) -> float:
    """Perplexity of a mean negative log-likelihood; infinite where a float ends."""
    return math.exp(nats) if nats < 709 else math.inf


def _chunks(
    model: LanguageModel, stream: torch.Tensor, start: int, chunk: int, streams: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, State]]:
    """Parts of (steps, streams) words, of the words to predict (−1 behind the end), and a state."""
    targets = stream.to(model.weight.device)
    context = torch.cat([targets.new_tensor([start]), targets[:-1]])
    length = -(-len(stream) // streams)
    behind = length * streams - len(stream)
    context = torch.cat([context, context.new_zeros(behind)]).view(streams, length).t()
    targets = torch.cat([targets, targets.new_full((behind,), -1)]).view(streams, length).t()
    state = model.initial_state(streams)
    steps = max(1, chunk // streams)
    for i in range(0, length, steps):
        yield context[i : i + steps], targets[i : i + steps], state
