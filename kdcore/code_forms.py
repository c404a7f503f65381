"""Forms that are codes: books learned from a sample and rounded, then all rows encoded in blocks.

The kinds in `kdcore/forms` say which shapes of codes there are; how one is learned, refined, stored
and continued is the same for all of them, and here.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from kdcore.codes import Codes, code_bits
from kdcore.embeddings import EMBEDDINGS
from kdcore.encoding import Encoder
from kdcore.forms import Form, Work, bits_in_words
from kdcore.learners import Control, LearnedCodes, LearnerInputs, refine, residual
from kdcore.refinement import parse_refinement
from kdcore.rounding import Scales, read_rounded, store_rounded
from kdcore.transforms import Transform
from kdcore.transforms.product import grouped_sum

# Rows that books are learned from.
LEARNED_ROWS = 65_536
# Values of an index, and at most so many rows in the books of a group: their least squares take
# the third power of it.
VALUES, BOOK_ROWS = (8, 16, 32, 64, 128, 256, 512, 1024), 2048
# k-means of so many words a centre: with 256, as is usual, errors are 4 % higher.
WORDS_PER_CENTRE = 1024
# Rows that tell how long more of them take to learn from, where time is short.
FEW_ROWS = 2048
# Rounds of refinement: as many as look at so many costs. Where that is fewer than the least, or
# books are learned from a sample, codes are found anew in `BEAM_ROUNDS`, as those of all rows will
# be: books that follow the codes of a sample for long do not suit other rows.
REFINED_COSTS, LEAST_ROUNDS, MOST_ROUNDS = 1e9, 30, 60
BEAM_ROUNDS = 3
# How rows are encoded: width of the beam and perturbations, by the costs of a pass over them.
SEARCHES = ((1e9, 32, 4), (2e9, 16, 4), (5e9, 8, 4), (4e10, 8, 0), (math.inf, 4, 0))


@dataclass(frozen=True)
class CodeForm(Form):
    """Codes of all words, and books whose numbers are rounded.

    Attributes:
        shape: K, D and groups.
    """

    shape: tuple[int, int, int]
    SIMPLICITY: ClassVar[int] = 3
    IS_CODES: ClassVar[bool] = True

    @property
    def depth(self) -> int:
        """Positions of a group."""
        return self.shape[1] // self.shape[2]

    @property
    def strength(self) -> float:
        """More of it is less error, roughly: bits of a code, and of equals fewer positions."""
        K, D, _ = self.shape
        return D * math.log2(K) * (1 + 0.08 * math.log2(K))

    @property
    def _rounding(self) -> Any:
        return self.settings

    def costs(self, rows: int) -> int:
        """How many a pass over the codes of so many rows looks at: rows · D · K."""
        return rows * self.shape[0] * self.shape[1]

    def refinement(self, N: int) -> dict[str, int] | None:
        """Settings of the refinement of a table of N rows; products gain nothing by one."""
        if self.depth < 2:
            return None
        rounds = round(REFINED_COSTS / self.costs(N))
        if N <= LEARNED_ROWS and rounds >= LEAST_ROUNDS:
            return {"rounds": min(MOST_ROUNDS, rounds)}
        return {"rounds": BEAM_ROUNDS, "beam": self.search(N)[0] // 2, "perturbations": 0}

    def search(self, N: int) -> tuple[int, int]:
        """How wide a beam encodes a table of N rows, and how many perturbations follow."""
        costs = self.costs(N)
        return next((beam, times) for most, beam, times in SEARCHES if costs <= most)

    def sketch(self, work: Work) -> torch.Tensor:
        learned = _learn(self, work.learned, work.weights, work.seed, beam=2, iterations=8)
        refinement, beam = self.refinement(work.table.N), 2
        if refinement and "beam" in refinement:
            # No short refinement tells how it ends: the beam that will encode all rows does.
            beam = self.search(work.table.N)[0]
        elif refinement:
            brief = {"rounds": 2, "perturbations": 1}
            learned = _refined(self, work, work.learned, work.weights, learned, brief)
        assert learned.transform is not None
        _round_books(learned.transform, self._rounding.bits, self._rounding.scales)
        encoder = Encoder(learned.transform, beam=beam, rounds=0)
        start = learned.codes.tensor() if work.whole else None
        return learned.transform.compose_all(encoder(work.scored, start))

    def store(self, work: Work) -> dict[str, torch.Tensor]:
        transform, stored, known = self._books(work)
        codes = Codes.cat(self._encoded(work, transform, known, list(work.table.blocks())))
        return {"packed": codes.pack_whole(), **stored}

    def store_share(self, work: Work, share: int | None, shares: int) -> None:
        transform, _, known = self._books(work)
        if share is not None:
            self._encoded(work, transform, known, list(work.table.blocks())[share::shares])

    def _books(self, work: Work) -> tuple[Transform, dict[str, torch.Tensor], torch.Tensor | None]:
        """A transform with rounded books, these as stored, and all rows' codes if known."""
        N, begun = work.table.N, time.monotonic()
        rows = most = min(LEARNED_ROWS, N)
        if work.end is not None:
            rows = min(most, max(FEW_ROWS, 4 * self.shape[0]))
        learned = self._learned(work, rows)
        # Few rows tell how long more of them take; where time is short, they are all.
        each = max(1e-6, time.monotonic() - begun) / rows
        more = int(0.4 * work.left() / each) if rows < most else 0
        if more > rows:
            rows = min(most, more)
            learned = self._learned(work, rows)
        settings, first = self.refinement(N), learned
        if settings is not None:
            if work.end is not None:
                # A round takes about as long as learning did.
                each = max(1e-3, time.monotonic() - begun)
                settings["rounds"] = min(settings["rounds"], int(0.5 * work.left() / each))
            if settings["rounds"] > 0:
                sample, counts = work.sample(rows)
                learned = self._kept(
                    work, f"refined-{self.key}-{rows}", rows,
                    lambda: _refined(self, work, sample, counts, first, settings),
                )  # fmt: skip
        assert learned.transform is not None
        stored = _round_books(learned.transform, self._rounding.bits, self._rounding.scales)
        known = learned.codes.tensor() if rows == N else None
        return learned.transform, stored, known

    def _learned(self, work: Work, rows: int) -> LearnedCodes:
        """Books, and the codes of so many rows that they are learned from."""

        def learn() -> LearnedCodes:
            work.report("learning the books", 0.0)
            # A wider one than 8 gains something for the rows that it sees, and none for others.
            beam = self.search(rows)[0] if rows == work.table.N else 8
            return _learn(self, *work.sample(rows), work.seed, beam=beam, iterations=20)

        return self._kept(work, f"learned-{self.key}-{rows}", rows, learn)

    def _kept(
        self, work: Work, name: str, rows: int, learn: Callable[[], LearnedCodes]
    ) -> LearnedCodes:
        """What was learned, from the checkpoint where it is there."""
        K, D, groups = self.shape
        found = work.checkpoint.load(name)
        if found is not None:
            codes = Codes.from_packed(found.pop("packed"), K, (rows, D))
            transform = grouped_sum(K, D, work.table.dim, groups)
            transform.load_exported(found)
            return LearnedCodes(codes, transform, ())
        learned = learn()
        assert learned.transform is not None
        # A copy: what is learned is rounded in place.
        books = {name: tensor.clone() for name, tensor in learned.transform.export().items()}
        work.checkpoint.store(name, {"packed": learned.codes.packed, **books})
        return learned

    def _encoded(
        self, work: Work, transform: Transform, known: torch.Tensor | None, blocks: list[slice]
    ) -> list[Codes]:
        """Codes of some blocks of rows, in as many threads as PyTorch has."""
        table, K, D = work.table, transform.K, transform.D
        beam, rounds = self.search(table.N)
        encoder = Encoder(transform, beam=beam, rounds=rounds, seed=work.seed)
        found: dict[int, Codes] = {}
        for block in blocks:
            kept = work.checkpoint.load(f"codes-{self.key}-{block.start}")
            if kept is not None:
                shape = (block.stop - block.start, D)
                found[block.start] = Codes.from_packed(kept["packed"], K, shape)
        left = [block for block in blocks if block.start not in found]
        if work.end is not None and known is None and left:
            # A first block tells how long all of them take.
            begun = time.monotonic()
            encoder(table.rows(left[0]))
            while encoder.beam > 1 and (time.monotonic() - begun) * len(left) > work.left():
                encoder = Encoder(transform, beam=encoder.beam // 2, rounds=0, seed=work.seed)
                begun = time.monotonic()
                encoder(table.rows(left[0]))

        def code(block: slice) -> Codes:
            start = None if known is None else known[block]
            return Codes(encoder(table.rows(block), start), K)

        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        try:
            for done, (block, part) in enumerate(zip(left, pool.map(code, left), strict=True), 1):
                found[block.start] = part
                work.checkpoint.store(f"codes-{self.key}-{block.start}", {"packed": part.packed})
                work.report("encoding", done / len(left))
        finally:
            pool.shutdown(cancel_futures=True)  # whoever interrupts does not wait for all blocks
            torch.set_num_threads(threads)  # of threads that are begun later, too
        return [found[block.start] for block in blocks]


def largest(
    structure: str, N: int, dim: int, limit: int, book_bits: int, K: int, depth: int, *,
    most: int, fewest: int = 1,
) -> list[CodeForm]:  # fmt: skip
    """Codes with as many groups of so many positions as fit; none where too few do.

    Args:
        structure: what such codes are called.
        limit: bits of all that is stored, at most.
        book_bits: of a number in the books.
        depth: positions of a group.
        most, fewest: groups.
    """
    if N // 4 < K or depth * K > BOOK_ROWS:
        return []
    low, high = 0, most  # groups that fit, and at most so many
    while low < high:
        groups = (low + high + 1) // 2
        fits = _bits_and_scales(N, dim, K, depth, groups, book_bits)[0] <= limit
        low, high = (groups, high) if fits else (low, groups - 1)
    if low < fewest:
        return []
    return [_code_form(structure, N, dim, K, depth, low, book_bits)]


def strongest_first(forms: Iterable[CodeForm]) -> list[CodeForm]:
    """In the order in which forms of a family are tried."""
    return sorted(forms, key=lambda form: -form.strength)


def _code_form(
    structure: str, N: int, dim: int, K: int, depth: int, groups: int, book_bits: int
) -> CodeForm:
    bits, scales = _bits_and_scales(N, dim, K, depth, groups, book_bits)
    linear: dict[str, object] = {"kind": "linear"}
    transform = linear if groups == 1 else {"kind": "product", "groups": groups}
    settings = EMBEDDINGS.parse(
        {
            "kind": "rounded", "bits": book_bits, "scales": scales,
            "of": {"kind": "kd", "transform": transform, "packing": "code"},
        }
    )  # fmt: skip
    structure = structure.format(groups=groups)
    name = f"{structure} codes, K = {K}, D = {depth * groups}, books at {bits_in_words(book_bits)}"
    return CodeForm(name, settings, bits, (K, depth * groups, groups))


def _bits_and_scales(
    N: int, dim: int, K: int, depth: int, groups: int, book_bits: int
) -> tuple[int, Scales]:
    """Bits of codes and books, and which scales of the books are fewer."""
    D, longer = depth * groups, dim % groups
    tables = [(D, dim // groups), (depth * longer, 1)]
    numbers = sum(8 * -(-books * K * size * book_bits // 8) for books, size in tables)
    if book_bits == 16:
        return 8 * -(-N * code_bits(K, D) // 8) + numbers, "row"
    of_rows = 32 * sum(books * K for books, _ in tables)
    of_columns = 32 * sum(books * size for books, size in tables)
    scales: Scales = "row" if of_rows <= of_columns else "column"
    return 8 * -(-N * code_bits(K, D) // 8) + numbers + min(of_rows, of_columns), scales


def _learn(
    form: CodeForm, vectors: torch.Tensor, counts: torch.Tensor | None, seed: int, *, beam: int,
    iterations: int,
) -> LearnedCodes:  # fmt: skip
    K, D, groups = form.shape
    settings = residual.Settings(
        K=K, D=D, groups=groups, beam=beam, iterations=iterations,
        words_per_centre=WORDS_PER_CENTRE,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a small sample: the table is larger
        learned = residual.learn(
            settings, LearnerInputs(len(vectors), vectors, counts), seed, Control()
        )
    assert learned is not None
    return learned


def _refined(
    form: CodeForm, work: Work, sample: torch.Tensor, counts: torch.Tensor | None,
    learned: LearnedCodes, given: dict[str, int],
) -> LearnedCodes:  # fmt: skip
    def tell(record: Any, _: torch.Tensor) -> None:
        if sample is not work.learned:
            work.report("refining the books", record.round / settings.rounds)

    settings = parse_refinement({**given, "groups": form.shape[2]})
    inputs = LearnerInputs(len(sample), sample, counts, learned.codes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = refine.learn(settings, inputs, work.seed, Control(report=tell))
    assert found is not None
    return found


def _round_books(transform: Transform, bits: int, scales: Scales) -> dict[str, torch.Tensor]:
    """Give a transform the books that are stored; returns these, by name."""
    stored: dict[str, torch.Tensor] = {}
    whole = {}
    for name, tensor in transform.export().items():
        part = store_rounded(f"transform.{name}", tensor, bits, scales)
        whole[name] = (
            part[f"transform.{name}"].float()
            if bits == 16
            else read_rounded(f"transform.{name}", part, bits, scales)
        )
        stored |= part
    transform.load_exported(whole)
    return stored
