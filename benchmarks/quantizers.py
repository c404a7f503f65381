"""Speed and error of quantizers beside faiss's, at equal bits: books and codes of a whole table.

`python -m benchmarks.quantizers` takes GloVe's first 10,000 words (50 numbers each; from the data
mirror or over the network), `--table FILE.npy` any table. Each method learns its books from the
table, or with `--sample ROWS` from so many of its rows, and encodes all of it; all have one shape
of code and float32 books. Our k-means sees 1,024 words a centre unless a name says otherwise.
Methods take turns, on one thread: seconds are the least of a method's turns and of this process
alone; the error is the relative squared error Σ‖v − v̂‖² / Σ‖v − mean‖² at the first turn.
`--out FILE.md` writes them as a table. `pip install faiss-cpu` for the comparison; faiss wants K
to be a power of two.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from kdcore.code_forms import WORDS_PER_CENTRE
from kdcore.encoding import encode
from kdcore.files import short_hash, write_text
from kdcore.learners import LEARNERS, Control, LearnerInputs
from kdcore.refinement import refine_codes
from kdcore.vectors import relative_error
from kdlab.provenance import commit, processor
from kdlab.vectors import VectorInputs
from kdlab.vectors.glove import Settings, read

try:
    import faiss
except ImportError:
    faiss = None

# Widths of our beams; those of faiss's are 5 and 32.
BEAMS = (8, 32)

Compose = Callable[[], torch.Tensor]


def ours(
    vectors: torch.Tensor, sample: torch.Tensor, K: int, D: int, groups: int, beam: int,
    refinement: dict[str, int] | None = None, **more: int,
) -> Compose:  # fmt: skip
    """The residual learner with more of its settings, and a refinement of what it finds."""

    def compose() -> torch.Tensor:
        settings = LEARNERS.parse(
            {"kind": "residual", "K": K, "D": D, "groups": groups, "beam": beam,
             "words_per_centre": WORDS_PER_CENTRE, **more}
        )  # fmt: skip
        learned = settings.module.learn(settings, LearnerInputs(len(sample), sample), 0, Control())
        if refinement:
            learned = refine_codes(sample, learned.codes, groups=groups, **refinement)
        codes = learned.codes
        if len(sample) < len(vectors):
            codes = encode(vectors, learned.transform, beam=beam, rounds=4 if refinement else 1)
        return learned.transform.compose_all(codes.tensor())

    return compose


def theirs(vectors: torch.Tensor, sample: torch.Tensor, make: Callable[[], object]) -> Compose:
    """A faiss quantizer, trained and used."""

    def compose() -> torch.Tensor:
        quantizer, table = make(), vectors.numpy()
        quantizer.train(sample.numpy())
        return torch.from_numpy(quantizer.decode(quantizer.compute_codes(table)))

    return compose


def product_of_faiss(d: int, D: int, bits: int, most: int) -> object:
    """faiss's product quantizer, whose k-means sees at most so many words a centre."""
    made = faiss.ProductQuantizer(d, D, bits)
    made.cp.max_points_per_centroid = most
    return made


def of_faiss(kind: str, d: int, D: int, bits: int, groups: int, beam: int, refined: bool) -> object:
    """A faiss quantizer of a kind: Residual or LocalSearch; with several groups their product."""
    if groups == 1:
        made = getattr(faiss, f"{kind}Quantizer")(d, D, bits)
    else:
        made = getattr(faiss, f"Product{kind}Quantizer")(d, groups, D // groups, bits)
    if kind == "Residual":
        several = [made.subquantizer(group) for group in range(groups)] if groups > 1 else []
        for part in map(faiss.downcast_AdditiveQuantizer, several or [made]):
            part.max_beam_size = beam
            if refined:
                part.train_type |= faiss.ResidualQuantizer.Train_refine_codebook
    return made


def methods(
    vectors: torch.Tensor, sample: torch.Tensor, K: int, D: int, groups: list[int],
    rounds: list[int], slow: bool,
) -> dict[str, Compose]:  # fmt: skip
    """All that are compared, by name."""
    d, bits = vectors.shape[1], K.bit_length() - 1
    product = partial(ours, vectors, sample, K, D, D, 1)
    found = {
        "product": product(),
        "product, 512 words a centre": product(words_per_centre=512),
        "product, 30 iterations": product(iterations=30),
    }
    if faiss is not None and d % D == 0:
        found["faiss product"] = theirs(vectors, sample, partial(product_of_faiss, d, D, bits, 256))
        found["faiss product, 1,024 words a centre"] = theirs(
            vectors, sample, partial(product_of_faiss, d, D, bits, 1024)
        )
    for each in groups:
        of = "" if each == 1 else f" in {each} groups"
        for beam in BEAMS:
            make = partial(ours, vectors, sample, K, D, each, beam)
            found[f"residual{of}, beam {beam}"] = make()
            if beam == min(BEAMS):
                name = f"residual{of}, beam {beam}, 256 words a centre"
                found[name] = make(words_per_centre=256)
            for times in rounds:
                found[f"residual{of}, beam {beam}, {times} rounds"] = make({"rounds": times})
            wide = {"rounds": 3, "beam": max(8, beam // 2), "perturbations": 0}
            name = f"residual{of}, beam {beam}, 3 rounds of beam {wide['beam']}"
            found[name] = make(wide)
        if faiss is None or d % each:
            continue
        rivals = [("Residual", 5, False), ("Residual", 5, True)]
        if slow:
            rivals += [("Residual", 32, True), ("LocalSearch", 0, False)]
        for kind, beam, refine in rivals:
            how = f", beam {beam}{', books refined' if refine else ''}"
            name = f"residual{of}{how}" if kind == "Residual" else f"local search{of}"
            found[f"faiss {name}"] = theirs(
                vectors, sample, partial(of_faiss, kind, d, D, bits, each, beam, refine)
            )
    return found


def main() -> None:
    """Print one line per method, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, help="a .npy file of vectors in place of GloVe's")
    parser.add_argument("--rows", type=int, help="of the table the first so many; of GloVe 10,000")
    parser.add_argument("--sample", type=int, help="rows that books are learned from; default all")
    parser.add_argument("--K", type=int, default=64)
    parser.add_argument("--D", type=int, default=10)
    parser.add_argument(
        "--groups",
        type=int,
        nargs="+",
        default=[1, 2],
        help="into which vectors are cut; 1 is none",
    )
    parser.add_argument("--rounds", type=int, nargs="*", default=[12, 60], help="of refinement")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--slow", action="store_true", help="faiss's slow settings too")
    parser.add_argument("--out", type=Path, help="where the table is written, .md")
    given = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    torch.set_num_threads(1)
    if faiss is None:
        print("faiss is not installed: not compared")
    else:
        faiss.omp_set_num_threads(1)
    what, vectors = vectors_of(given.table, given.rows)
    sample = vectors
    if given.sample is not None and given.sample < len(vectors):
        chosen = np.random.default_rng(0).choice(len(vectors), given.sample, replace=False)
        sample = vectors[torch.from_numpy(np.sort(chosen))]
        what += f", books from {given.sample:,} of its rows"
    what += f", K = {given.K}, D = {given.D}"
    print(f"{what}; {processor()}")
    compared = methods(vectors, sample, given.K, given.D, given.groups, given.rounds, given.slow)
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    errors: dict[str, float] = {}
    lines = ["| method | error | seconds |", "| --- | ---: | ---: |"]
    for turn in range(1, given.turns + 1):
        for name, compose in compared.items():
            begun = time.process_time()
            composed = compose()
            seconds[name].append(time.process_time() - begun)
            error = errors.setdefault(name, relative_error(vectors, composed))
            if turn == given.turns:
                print(f"  {name:44}{min(seconds[name]):8.2f} s   error {error:.4f}", flush=True)
                lines.append(f"| {name} | {error:.4f} | {min(seconds[name]):.1f} |")
    if given.out:
        digest = short_hash(vectors.numpy().tobytes())
        version = "not installed" if faiss is None else faiss.__version__
        end = f"Table `{digest}`, {processor()}, one thread, faiss {version}, commit {commit()}."
        write_text(given.out, "\n".join([f"**{what}**", "", *lines, "", end, ""]))


def vectors_of(table: Path | None, rows: int | None) -> tuple[str, torch.Tensor]:
    """A table by what it is called, and its vectors."""
    if table is None:
        glove = read(Settings(dim=50, words=rows or 10_000), VectorInputs())
        name, vectors = "GloVe", glove.vectors
    else:
        loaded = np.load(table, mmap_mode="r")[:rows]
        name, vectors = table.stem, torch.from_numpy(np.array(loaded, dtype=np.float32))
    return f"{name}, {len(vectors):,} × {vectors.shape[1]}", vectors


if __name__ == "__main__":
    main()
