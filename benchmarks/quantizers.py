"""Speed and error of quantizers beside faiss's, at equal bits: books and codes of a whole table.

`python -m benchmarks.quantizers` takes GloVe's first 10,000 words (50 numbers each; from the data
mirror or over the network), `--table FILE.npy` any table. Each method learns its books from the
table and encodes it; all have one shape of code and float32 books. Methods take turns, on
one thread: seconds are the least of a method's turns and of this process alone; the error is the
relative squared error Σ‖v − v̂‖² / Σ‖v − mean‖² at the first turn. `pip install faiss-cpu` for the
comparison; faiss wants K to be a power of two.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from kdcore.learners import LEARNERS, Control, LearnerInputs
from kdcore.refinement import refine_codes
from kdcore.vectors import relative_error
from kdlab.provenance import processor
from kdlab.vectors import VectorInputs
from kdlab.vectors.glove import Settings, read

try:
    import faiss
except ImportError:
    faiss = None

Compose = Callable[[], torch.Tensor]


def ours(vectors: torch.Tensor, K: int, D: int, groups: int, beam: int, rounds: int) -> Compose:
    """The residual learner and so many rounds of refinement."""

    def compose() -> torch.Tensor:
        settings = LEARNERS.parse(
            {"kind": "residual", "K": K, "D": D, "groups": groups, "beam": beam}
        )
        inputs = LearnerInputs(len(vectors), vectors)
        learned = settings.module.learn(settings, inputs, 0, Control())
        if rounds:
            learned = refine_codes(
                vectors, learned.codes, groups=groups, rounds=rounds, noise=0.02, perturbations=4
            )
        return learned.transform.compose_all(learned.codes.tensor())

    return compose


def theirs(vectors: torch.Tensor, make: Callable[[], object]) -> Compose:
    """A faiss quantizer, trained and used."""

    def compose() -> torch.Tensor:
        quantizer, table = make(), vectors.numpy()
        quantizer.train(table)
        return torch.from_numpy(quantizer.decode(quantizer.compute_codes(table)))

    return compose


def methods(vectors: torch.Tensor, K: int, D: int, groups: int, slow: bool) -> dict[str, Compose]:
    """All that are compared, by name."""
    found = {
        "product": ours(vectors, K, D, D, 1, 0),
        "residual, beam 8": ours(vectors, K, D, 1, 8, 0),
        "residual, beam 8, 4 rounds": ours(vectors, K, D, 1, 8, 4),
        "residual, beam 8, 12 rounds": ours(vectors, K, D, 1, 8, 12),
        f"product-residual, {groups} groups, 4 rounds": ours(vectors, K, D, groups, 8, 4),
    }
    if faiss is None:
        return found
    d, bits = vectors.shape[1], K.bit_length() - 1

    def residual(beam: int, refined: bool) -> Callable[[], object]:
        def make() -> object:
            made = faiss.ResidualQuantizer(d, D, bits)
            made.max_beam_size = beam
            if refined:
                made.train_type |= faiss.ResidualQuantizer.Train_refine_codebook
            return made

        return make

    rivals = {"faiss residual, beam 5 (default)": residual(5, False)}
    rivals["faiss residual, beam 5, books refined"] = residual(5, True)
    if d % D == 0:
        rivals["faiss product"] = lambda: faiss.ProductQuantizer(d, D, bits)
    if d % groups == 0:
        rivals[f"faiss product-residual, {groups} groups"] = lambda: faiss.ProductResidualQuantizer(
            d, groups, D // groups, bits
        )
    if slow:
        rivals["faiss residual, beam 32, books refined"] = residual(32, True)
        rivals["faiss local search"] = lambda: faiss.LocalSearchQuantizer(d, D, bits)
    return found | {name: theirs(vectors, make) for name, make in rivals.items()}


def main() -> None:
    """Print one line per method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, help="a .npy file of vectors in place of GloVe's")
    parser.add_argument("--rows", type=int, help="of the table, the first so many")
    parser.add_argument("--K", type=int, default=64)
    parser.add_argument("--D", type=int, default=10)
    parser.add_argument("--groups", type=int, default=2, help="of the product-residual ones")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--slow", action="store_true", help="faiss's slow settings too")
    given = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    torch.set_num_threads(1)
    if faiss is None:
        print("faiss is not installed: not compared")
    else:
        faiss.omp_set_num_threads(1)
    if given.table is None:
        vectors = read(Settings(dim=50, words=10_000), VectorInputs()).vectors
    else:
        loaded = np.load(given.table, mmap_mode="r")[: given.rows]
        vectors = torch.from_numpy(np.array(loaded, dtype=np.float32))
    print(f"{len(vectors):,} × {vectors.shape[1]}, K = {given.K}, D = {given.D}; {processor()}")
    compared = methods(vectors, given.K, given.D, given.groups, given.slow)
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    errors: dict[str, float] = {}
    for turn in range(1, given.turns + 1):
        for name, compose in compared.items():
            begun = time.process_time()
            composed = compose()
            seconds[name].append(time.process_time() - begun)
            error = errors.setdefault(name, relative_error(vectors, composed))
            if turn == given.turns:
                print(f"  {name:44}{min(seconds[name]):8.2f} s   error {error:.4f}", flush=True)


if __name__ == "__main__":
    main()
