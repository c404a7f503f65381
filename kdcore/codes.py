"""KD codes: each of N words (the paper's symbols) has D indices below K (Section 2.1)."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdcore.errors import KDError
from kdcore.tensors import count_of, load_tensors, read_from, save_tensors
from kdcore.vectors import as_tensor


def check_shape(K: int, D: int, N: int = 1) -> None:
    """Refuse a code shape that cannot be.

    Raises:
        KDError: K < 2, K > 2^56, D < 1, N < 1, or one of them is not an integer.
    """
    for name, value in (("K", K), ("D", D), ("N", N)):
        if not isinstance(value, Integral):
            raise KDError(f"{name} must be an integer, got {value!r}")
    if K < 2:
        raise KDError(f"K must be at least 2, got {K}")
    if K > 2**56:
        # 7 bits more, and they still fit an int64 wherever in a byte they begin.
        raise KDError(f"K must be at most 2^56, got {K}")
    if D < 1:
        raise KDError(f"D must be at least 1, got {D}")
    if N < 1:
        raise KDError(f"N must be at least 1, got {N}")


def index_bits(K: int) -> int:
    """Bits that hold one index, ⌈log2 K⌉."""
    return max(1, (K - 1).bit_length())


# Integers that are packed, and rows that are checked, at a time; multiples of 8.
PIECE, ROWS = 1 << 16, 10_000
# A 64-bit integer holds one of so many bits wherever in a byte it begins.
WORD_BITS = 57


@cache
def code_parts(K: int, D: int) -> tuple[int, ...]:
    """How many indices of a code are written as one number, so that its bits are fewest.

    A code is a number of D digits to the base K. One that needs more than 57 bits is cut into
    several, at a cost of at most a bit each.

    Example:
        >>> code_parts(50, 10), code_parts(20, 15)
        ((10,), (12, 3))
    """
    longest = max(1, next(g for g in range(1, D + 2) if g > D or K**g > 2**WORD_BITS) - 1)
    best: list[tuple[int, int, tuple[int, ...]]] = [(0, 0, ())]
    for d in range(1, D + 1):
        tried = []
        for g in range(1, min(longest, d) + 1):
            bits, count, parts = best[d - g]
            tried.append((bits + (K**g - 1).bit_length(), count + 1, (*parts, g)))
        best.append(min(tried, key=lambda found: (found[0], found[1], -found[2][0])))
    return best[D][2]


def code_bits(K: int, D: int) -> int:
    """Bits that hold one whole code, ⌈D·log2 K⌉ where that is at most 57."""
    return sum((K**g - 1).bit_length() for g in code_parts(K, D))


def pack(indices: torch.Tensor, bits: int) -> torch.Tensor:
    """Non-negative integers below 2^bits, any shape, as one little-endian bit stream (uint8)."""
    # Whole bytes at a time: 8 integers of b bits are b bytes.
    pieces = indices.reshape(-1, 1).split(PIECE) if indices.numel() else [indices.reshape(-1, 1)]
    if bits <= 8:
        return torch.from_numpy(np.concatenate([_pack_eights(piece, bits) for piece in pieces]))
    shifts = np.arange(bits, dtype=np.uint64)
    parts = [
        np.packbits(
            ((piece.numpy().astype(np.uint64) >> shifts) & np.uint64(1)).astype(np.uint8).ravel(),
            bitorder="little",
        )
        for piece in pieces
    ]
    return torch.from_numpy(np.concatenate(parts))


def _pack_eights(indices: torch.Tensor, bits: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """What `pack` does with integers of at most 8 bits: 8 of them fit a word of 64."""
    count = indices.numel()
    eights = np.zeros((-(-count // 8), 8), dtype=np.uint64)
    eights.reshape(-1)[:count] = indices.numpy().reshape(-1)
    words = np.zeros(len(eights), dtype="<u8")
    for k in range(8):
        words |= eights[:, k] << np.uint64(bits * k)
    return words.view(np.uint8).reshape(-1, 8)[:, :bits].reshape(-1)[: -(-count * bits // 8)]


def unpack_all(packed: torch.Tensor, count: int, bits: int) -> torch.Tensor:
    """The first so many integers of a packed stream on the CPU, int64."""
    if bits > 8:
        return unpack_at(packed, torch.arange(count), bits)
    found = np.empty((-(-count // 8), 8), dtype=np.int64)
    stream = np.zeros((len(found), bits), dtype=np.uint8)
    used = packed.numpy()[: stream.size]
    stream.reshape(-1)[: len(used)] = used
    for first in range(0, len(found), PIECE):
        piece = stream[first : first + PIECE]
        words = np.zeros((len(piece), 8), dtype=np.uint8)
        words[:, :bits] = piece
        whole = words.view("<u8")[:, 0]
        for k in range(8):
            found[first : first + PIECE, k] = whole >> np.uint64(bits * k) & np.uint64(2**bits - 1)
    return torch.from_numpy(found.reshape(-1)[:count])


def append_packed(packed: torch.Tensor, count: int, more: torch.Tensor, bits: int) -> torch.Tensor:
    """A packed stream of so many integers with more of them behind it."""
    whole = count // 8 * 8
    last = unpack_at(packed, torch.arange(whole, count, device=packed.device), bits)
    return torch.cat([packed[: whole * bits // 8], pack(torch.cat([last, more.flatten()]), bits)])


def unpack_at(packed: torch.Tensor, positions: torch.Tensor, bits: int) -> torch.Tensor:
    """The integers at the given positions of a packed stream, on its device, int64."""
    return unpack_bits(packed, positions * bits, bits)


def unpack_bits(packed: torch.Tensor, start: torch.Tensor, bits: int) -> torch.Tensor:
    """The integers of so many bits, at most 57, that begin at the given bits of a stream."""
    byte, shift = (start >> 3).flatten(), start & 7
    span = (bits + 14) // 8  # bytes that `bits` bits can touch
    value = torch.zeros_like(byte)
    for i in range(span):
        # Past the end, any byte will do: its bits are masked away. A graph of ONNX holds the stream
        # once for `index_select`, and once for each byte of a span otherwise.
        value |= packed.index_select(0, (byte + i).clamp(max=len(packed) - 1)).long() << (8 * i)
    # ONNX has this name for a shift by a tensor, and none for `>>`.
    return torch.bitwise_right_shift(value.view_as(start), shift) & ((1 << bits) - 1)


@dataclass(frozen=True)
class CodeStatistics:
    """Health of a code.

    Attributes:
        entropy: bits per position, length D; log2 K when all values are equally used.
        used: number of values in use per position, length D.
        unique: number of distinct codes.
        collisions: number of words that share their code with another.
        largest: number of words with the most common code.
    """

    entropy: tuple[float, ...]
    used: tuple[int, ...]
    unique: int
    collisions: int
    largest: int


class Codes:
    """N codes of D indices below K, stored packed at ⌈log2 K⌉ bits an index.

    Args:
        indices: integers, shape (N, D).
        K: number of values an index can take.

    Raises:
        KDError: K < 2, D < 1, no rows, not integers, or an index outside 0 … K−1.

    Example:
        >>> Codes([[3, 1, 0, 4], [2, 1, 0, 5]], K=6)
        Codes(N=2, K=6, D=4, 3 bytes)
    """

    def __init__(self, indices: torch.Tensor | np.ndarray | Sequence[Sequence[int]], K: int):
        try:
            table = as_tensor(indices).cpu()
        except (TypeError, ValueError, RuntimeError) as error:
            raise KDError(f"codes must be a table of integers ({error})") from None
        if table.ndim != 2 or len(table) == 0:
            raise KDError(f"codes must have shape (N, D) with N > 0, got {tuple(table.shape)}")
        if table.is_floating_point() or table.is_complex() or table.dtype == torch.bool:
            raise KDError(f"codes must be integers, got {table.dtype}")
        check_shape(K, table.shape[1])
        table = table.long()  # before K is compared: it may not fit a narrower type
        _check_range(table, K)
        self.K = int(K)
        self.shape = (int(table.shape[0]), int(table.shape[1]))
        self.packed = pack(table, self.bits)

    @property
    def D(self) -> int:
        """Indices in a code."""
        return self.shape[1]

    @property
    def bits(self) -> int:
        """Bits that store one index, ⌈log2 K⌉."""
        return index_bits(self.K)

    def __len__(self) -> int:
        return self.shape[0]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Codes):
            return NotImplemented
        same = self.K == other.K and self.shape == other.shape
        return same and torch.equal(self.packed, other.packed)

    def __repr__(self) -> str:
        return f"Codes(N={len(self)}, K={self.K}, D={self.D}, {len(self.packed)} bytes)"

    def __getitem__(self, index: Any) -> torch.Tensor:
        """`codes[i, j]` one index, `codes[i]` one code, `codes[ids]` rows; int64 tensors.

        Only the bytes asked for are read. Two arrays are taken in pairs, as by PyTorch.

        Raises:
            IndexError: outside the N codes or their D positions, or arrays that make no pairs.
        """
        rows, columns = index if isinstance(index, tuple) else (index, slice(None))
        sliced = isinstance(rows, slice) or isinstance(columns, slice)
        rows = _positions(rows, self.shape[0])
        columns = _positions(columns, self.shape[1])
        if sliced:
            rows = rows.reshape(*rows.shape, *[1] * columns.ndim)
        try:
            at = rows * self.D + columns
        except RuntimeError:
            raise IndexError(
                f"indices of shapes {tuple(rows.shape)} and {tuple(columns.shape)} make no pairs"
            ) from None
        return unpack_at(self.packed, at, self.bits)

    def tensor(self) -> torch.Tensor:
        """All indices, int64, shape (N, D)."""
        return unpack_all(self.packed, math.prod(self.shape), self.bits).view(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """All indices as a NumPy array, (N, D); int64 unless another type is asked for.

        Raises:
            ValueError: an array without a copy is asked for: the indices are packed.
        """
        if copy is False:
            raise ValueError("packed codes cannot be an array without a copy")
        return self.tensor().numpy().astype(dtype or np.int64, copy=False)

    def format(self, i: int) -> str:
        """The code of row i as in Table 2, for example `3-1-0-4`."""
        return _written(self[i].tolist())

    def groups(self) -> dict[str, list[int]]:
        """The rows that have each code in use (Table 2); codes as `format` writes them."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for i, code in enumerate(self.tensor().tolist()):
            found[_written(code)].append(i)
        return dict(found)

    def statistics(self) -> CodeStatistics:
        """Entropy, usage and collisions."""
        indices = self.tensor()
        counts = [torch.bincount(column, minlength=self.K) for column in indices.unbind(1)]
        shares = [c[c > 0].double() / len(self) for c in counts]
        _, sizes = self._numbers(indices).unique(return_counts=True)
        return CodeStatistics(
            entropy=tuple(float(-(p * p.log2()).sum()) + 0.0 for p in shares),
            used=tuple(int((c > 0).sum()) for c in counts),
            unique=len(sizes),
            collisions=int(sizes[sizes > 1].sum()),
            largest=int(sizes.max()),
        )

    def _numbers(self, indices: torch.Tensor) -> torch.Tensor:
        """A number for each code, int64 (N,), that no other code has."""
        numbers, first = torch.zeros(len(self), dtype=torch.int64), 0
        for size, _, _ in _parts(self.K, self.D):
            digits = indices[:, first : first + size]
            part = (digits * _powers(self.K, size)).sum(1)
            if first:  # of two parts: their ranks, so that no number overflows
                _, left = numbers.unique(return_inverse=True)
                values, right = part.unique(return_inverse=True)
                part = left * len(values) + right
            numbers, first = part, first + size
        return numbers

    def pack_whole(self) -> torch.Tensor:
        """The codes as one bit stream (uint8) at `code_bits(K, D)` bits a code.

        A code is one number to the base K, its first index the lowest digit. Where K is a power
        of two that is `packed`.

        Example:
            >>> len(Codes.random(1000, K=50, D=10, seed=0).pack_whole())  # 57 bits a code, not 60
            7125
        """
        pieces = []
        for rows in range(0, len(self), ROWS):
            indices, first = self[rows : rows + ROWS], 0
            bits = np.zeros((len(indices), code_bits(self.K, self.D)), dtype=np.uint8)
            for size, at, width in _parts(self.K, self.D):
                digits = indices[:, first : first + size]
                value = (digits * _powers(self.K, size)).sum(1)[:, None].numpy()
                bits[:, at : at + width] = (value >> np.arange(width)) & 1
                first += size
            pieces.append(np.packbits(bits.ravel(), bitorder="little"))
        return torch.from_numpy(np.concatenate(pieces))

    @classmethod
    def from_whole(cls, packed: torch.Tensor, K: int, shape: tuple[int, int]) -> "Codes":
        """Rebuild from what `pack_whole` gave.

        Raises:
            KDError: the stream has the wrong length, or a code is out of range.
        """
        N, D = shape
        check_shape(K, D, N)
        # An index takes a bit at least; how a code of far more of them is cut is not asked.
        each = D if 8 * packed.numel() < N * D else code_bits(K, D)
        expected = -(-N * each // 8)
        if packed.dtype != torch.uint8 or packed.shape != (expected,):
            raise KDError(
                f"codes of shape {shape} at K = {K}, packed whole, must be {expected} bytes, got "
                f"{packed.numel()} of {packed.dtype}"
            )
        pieces = []
        for rows in torch.arange(N, device=packed.device).split(ROWS):
            found = []
            for size, at, width in _parts(K, D):
                value = unpack_bits(packed, rows * each + at, width)
                wrong = value >= K**size
                if wrong.any():
                    i = int(wrong.nonzero()[0])
                    raise KDError(f"code {rows[i]} must be below {K}^{size}, got {value[i]}")
                found.append(value[:, None] // _powers(K, size).to(packed.device) % K)
            pieces.append(pack(torch.cat(found, 1), index_bits(K)))
        return cls.from_packed(torch.cat(pieces), K, shape)

    def save(self, path: str | Path) -> None:
        """Store in one safetensors file."""
        header = {"kind": "codes", "K": self.K, "shape": list(self.shape)}
        save_tensors(path, {"packed": self.packed}, header)

    @classmethod
    def load(cls, path: str | Path) -> "Codes":
        """Read what `save` wrote.

        Raises:
            KDError: missing, damaged, or an index is out of range.
        """
        tensors, header = load_tensors(path, "codes", ["packed", "K", "shape"])
        with read_from(path, "codes"):
            shape = header["shape"]
            if not isinstance(shape, list) or len(shape) != 2:
                raise KDError(f"shape must be [N, D], got {shape!r}")
            counts = dict(zip(("N", "D"), shape, strict=True))
            N, D = (count_of(counts, name) for name in ("N", "D"))
            return cls.from_packed(tensors["packed"], count_of(header, "K"), (N, D))

    @classmethod
    def from_packed(cls, packed: torch.Tensor, K: int, shape: tuple[int, int]) -> "Codes":
        """Rebuild from `packed`, `K` and `shape`.

        Raises:
            KDError: the stream has the wrong length, or an index is out of range.
        """
        check_shape(K, shape[1], shape[0])
        expected = -(-shape[0] * shape[1] * index_bits(K) // 8)
        if packed.dtype != torch.uint8 or packed.shape != (expected,):
            raise KDError(
                f"packed codes of shape {shape} at K = {K} must be {expected} bytes, got "
                f"{packed.numel()} of {packed.dtype}"
            )
        made = cls.__new__(cls)
        made.K, made.shape = int(K), (int(shape[0]), int(shape[1]))
        made.packed = packed.cpu().clone()
        if used := shape[0] * shape[1] * made.bits % 8:
            made.packed[-1] &= (1 << used) - 1  # equal codes are equal bytes
        for first in range(0, shape[0] if 1 << made.bits > K else 0, ROWS):
            _check_range(made[first : first + ROWS], K, first)
        return made

    @classmethod
    def cat(cls, parts: Sequence["Codes"]) -> "Codes":
        """The rows of several codes of equal K and D, one after another.

        Raises:
            KDError: no codes, or codes that differ in K or D.

        Example:
            >>> Codes.cat([codes, encode(more_vectors, decoder)])
        """
        shapes = {(part.K, part.D) for part in parts}
        if len(shapes) != 1:
            raise KDError(f"codes must be of one K and D, got (K, D) = {sorted(shapes)}")
        first, *rest = parts
        packed, length = first.packed, len(first)
        for part in rest:
            packed = append_packed(packed, length * first.D, part.tensor(), first.bits)
            length += len(part)
        return cls.from_packed(packed, first.K, (length, first.D))

    @classmethod
    def random(cls, N: int, K: int, D: int, seed: int) -> "Codes":
        """Uniformly random codes, the baseline of Table 1.

        Raises:
            KDError: K < 2, D < 1 or N < 1.
        """
        check_shape(K, D, N)
        generator = torch.Generator().manual_seed(seed)
        return cls(torch.randint(K, (N, D), generator=generator, device="cpu"), K)


def check_codes(given: object) -> None:
    """Refuse what is given in place of codes.

    Raises:
        KDError: it is none.
    """
    if not isinstance(given, Codes):
        raise KDError(f"codes must be Codes(indices, K), got a {type(given).__name__}")


def _parts(K: int, D: int) -> list[tuple[int, int, int]]:
    """Of each number in a whole code: its indices, its first bit, its bits."""
    found, at = [], 0
    for size in code_parts(K, D):
        width = (K**size - 1).bit_length()
        found.append((size, at, width))
        at += width
    return found


def _powers(K: int, size: int) -> torch.Tensor:
    return torch.tensor([K**i for i in range(size)], device="cpu")


def _check_range(table: torch.Tensor, K: int, first: int = 0) -> None:
    wrong = (table < 0) | (table >= K)
    if wrong.any():
        i, j = wrong.nonzero()[0].tolist()
        raise KDError(
            f"index {j} of code {first + i} must be from 0 to K - 1 = {K - 1}, got "
            f"{int(table[i, j])}"
        )


def _written(code: Sequence[int]) -> str:
    return "-".join(map(str, code))


def _positions(index: object, length: int) -> torch.Tensor:
    if isinstance(index, slice):
        return torch.arange(*index.indices(length), device="cpu")
    try:
        positions = as_tensor(index)
    except (TypeError, ValueError, RuntimeError):
        raise IndexError(f"an index must be integers or a slice, got {index!r}") from None
    if isinstance(index, list) and not positions.numel():
        positions = positions.long()
    if positions.dtype == torch.bool or positions.is_floating_point():
        raise IndexError(f"an index must be integers, not {positions.dtype}")
    positions = positions.long()  # the place of a bit may not fit a narrower type
    positions = torch.where(positions < 0, positions + length, positions)
    if positions.numel() and (positions.min() < 0 or positions.max() >= length):
        raise IndexError(f"index out of range for {length}")
    return positions
