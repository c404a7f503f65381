"""Training speed of the paper's small model against a plain PyTorch loop, taking turns.

`python benchmarks/language_model.py` prints tokens per second and each variant's time over
that of the conventional model, on one CPU thread (or `--device cuda`). The plain loop is what
PyTorch's word-language-model example does: embedding, LSTM, linear layer, log-softmax, mean
loss, gradient clipping, and an update in Python. Words are random: speed does not depend on
them, except that a real text repeats words more, which favours KD embeddings.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

from kdcore import Codes, KDEmbedding, LanguageModel
from kdcore.settings.language_model import LanguageModelSettings
from kdcore.training import clipped_sgd_step

WORDS, K, D = 10_000, 50, 10
SMALL = LanguageModelSettings(
    hidden=200, init_scale=0.1, keep=1.0, steps=20, full_rate_epochs=4, decay=0.5, epochs=13,
    clip=5.0,
)  # fmt: skip


class PlainModel(nn.Module):
    """Embedding, LSTM and decoder, nothing else."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, SMALL.hidden)
        self.lstm = nn.LSTM(SMALL.hidden, SMALL.hidden, SMALL.layers)
        self.decoder = nn.Linear(SMALL.hidden, WORDS)

    def forward(self, ids, state):
        outputs, state = self.lstm(self.embedding(ids), state)
        return F.log_softmax(self.decoder(outputs).view(-1, WORDS), dim=1), state


class Ours:
    """A training step as `kdcore.train` does it."""

    def __init__(self, embedding: nn.Module, device: torch.device):
        self.model = LanguageModel(embedding, WORDS, SMALL).to(device)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.state = self.model.initial_state(SMALL.batch)

    def step(self, ids, targets):
        loss, state = self.model.loss(ids, targets, self.state)
        loss.backward()
        clipped_sgd_step(self.parameters, 0.1, SMALL.clip)
        self.state = tuple(s.detach() for s in state)


class Plain:
    """A training step as the example does it."""

    def __init__(self, device: torch.device):
        self.model = PlainModel().to(device)
        shape = (SMALL.layers, SMALL.batch, SMALL.hidden)
        self.state = (torch.zeros(shape, device=device), torch.zeros(shape, device=device))

    def step(self, ids, targets):
        self.state = tuple(s.detach() for s in self.state)
        self.model.zero_grad()
        output, self.state = self.model(ids, self.state)
        F.nll_loss(output, targets.view(-1)).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), SMALL.clip)
        for p in self.model.parameters():
            p.data.add_(p.grad, alpha=-0.1)


def zipf_ids(generator: torch.Generator) -> torch.Tensor:
    """Word ids with the frequencies of Zipf's law, as text has them."""
    weights = 1.0 / torch.arange(1, WORDS + 1)
    shape = (SMALL.steps + 1, SMALL.batch)
    flat = torch.multinomial(weights, shape[0] * shape[1], True, generator=generator)
    return flat.view(shape)


def main() -> None:
    """Print one line per variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=15, help="training steps in a turn")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    codes = Codes.random(WORDS, K, D, seed=0)
    kd = {"code_dim": 200, "normalise": True}
    variants = {
        "conventional": Ours(nn.Embedding(WORDS, SMALL.hidden), device),
        "plain loop": Plain(device),
        "KD linear": Ours(KDEmbedding(codes, 200, "linear", **kd), device),
        "KD LSTM, counted": Ours(KDEmbedding(codes, 200, "lstm", cell="counted", **kd), device),
        "KD LSTM, printed": Ours(KDEmbedding(codes, 200, "lstm", cell="printed", **kd), device),
    }
    generator = torch.Generator().manual_seed(0)
    seconds = {name: [] for name in variants}
    for turn in range(arguments.rounds + 1):
        text = [zipf_ids(generator).to(device) for _ in range(arguments.steps)]
        for name, variant in variants.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
            begun = time.perf_counter()
            for ids in text:
                variant.step(ids[:-1], ids[1:])
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first turn warms up
                seconds[name].append((time.perf_counter() - begun) / arguments.steps)
    tokens = SMALL.steps * SMALL.batch
    print(f"{'':20}{'ms/step':>9}{'tokens/s':>10}  time over conventional (median of turns)")
    for name, times in seconds.items():
        ratio = statistics.median(
            a / b for a, b in zip(times, seconds["conventional"], strict=True)
        )
        middle = statistics.median(times)
        print(f"{name:20}{1000 * middle:9.1f}{tokens / middle:10.0f}  {ratio:.2f}")


if __name__ == "__main__":
    main()
