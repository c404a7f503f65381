"""Time and error of code learning, beside faiss at equal bits where faiss is installed.

`python -m benchmarks.code_learning` learns codes for GloVe's first 10,000 words (50 numbers
each; from the data mirror or over the network) and for 10,000 × 200 random vectors, on one CPU
thread. Error is the relative squared error Σ‖v − v̂‖² / Σ‖v − mean‖². faiss wants K to be a
power of two: it is compared at K = 64, D = 10 (`pip install faiss-cpu`).
"""

import argparse
import time
from collections.abc import Callable

import torch

from kdcore import learn_codes
from kdcore.vectors import relative_error
from kdlab.vectors import VectorInputs
from kdlab.vectors.glove import Settings, read

try:
    import faiss
except ImportError:
    faiss = None


def row(name: str, vectors: torch.Tensor, compose: Callable[[], torch.Tensor]) -> None:
    """Print seconds and error of one method."""
    start = time.perf_counter()
    composed = compose()
    seconds = time.perf_counter() - start
    print(f"  {name:42}{seconds:8.1f} s   error {relative_error(vectors, composed):.3f}")


def ours(
    vectors: torch.Tensor, K: int, D: int, transform: str | dict = "linear", **settings
) -> Callable[[], torch.Tensor]:
    """Learn codes and compose the vectors again."""

    def compose() -> torch.Tensor:
        learned = learn_codes(vectors, K, D, transform, **settings)
        return learned.transform.compose_all(learned.codes.tensor())

    return compose


def theirs(vectors: torch.Tensor, index) -> Callable[[], torch.Tensor]:
    """Train a faiss quantizer, encode and decode."""

    def compose() -> torch.Tensor:
        index.train(vectors.numpy())
        return torch.from_numpy(index.decode(index.compute_codes(vectors.numpy())))

    return compose


def main() -> None:
    """Print one line per method."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    if faiss is not None:
        faiss.omp_set_num_threads(1)
    vectors = read(Settings(dim=50, words=10_000), VectorInputs()).vectors
    lstm = {"kind": "lstm", "init_scale": 1.0}
    print("GloVe 10,000 × 50, K = 64, D = 10")
    row("straight-through, linear, 200 epochs", vectors, ours(vectors, 64, 10))
    row("the same, then refined", vectors, ours(vectors, 64, 10, refinement={}))
    if faiss is None:
        print("  faiss is not installed: not compared")
    else:
        d = vectors.shape[1]
        row("faiss product quantizer", vectors, theirs(vectors, faiss.ProductQuantizer(d, 10, 6)))
        row("faiss residual quantizer", vectors, theirs(vectors, faiss.ResidualQuantizer(d, 10, 6)))
        row(
            "faiss local search quantizer",
            vectors,
            theirs(vectors, faiss.LocalSearchQuantizer(d, 10, 6)),
        )
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(10_000, 200, generator=generator)
    print("Random 10,000 × 200, K = 50, D = 10 (incompressible: for the time)")
    row("straight-through, linear, 200 epochs", noise, ours(noise, 50, 10))
    row("the same, then refined", noise, ours(noise, 50, 10, refinement={}))
    row(
        "straight-through, LSTM, 60 epochs",
        noise,
        ours(noise, 50, 10, lstm, epochs=60, learning_rate=0.005),
    )


if __name__ == "__main__":
    main()
