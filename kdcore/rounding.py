"""Tables rounded to a few bits a number: levels, and a scale and an offset for each row or column.

May et al. 2019, "On the Downstream Performance of Compressed Word Embeddings", Section 2: uniform
quantisation with clipped extremes.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F

from kdcore.codes import append_packed, pack, unpack_at
from kdcore.errors import KDError

# Numbers that share a scale and an offset: those of a row, or those of a column of a matrix.
Scales = Literal["row", "column"]
# Shares of a row's range that are tried; numbers beyond become its ends. A wide range suits many
# bits, a narrow one few: of 200 normal numbers at 1 bit, 0.3 leaves the smallest error.
SHARES = (1.0, 0.8, 0.55, 0.3)
# Rows that are rounded at a time.
PIECE = 10_000
# What the largest number of a table may be: above, the range of a row would leave float32; below,
# the steps between levels run out. Zeros may be all that there is.
MOST, LEAST = 2.0**126, 1e-33
# Of a row below such a share of the largest number of its table nothing may be left.
NOTHING = 2.0**-20
# What the names of a stored table's tensors end with.
LEVELS, SCALE, OFFSET, SHAPE = (
    f"rounded.{name}" for name in ("levels", "scale", "offset", "shape")
)


def stored_type(blocks: Iterable[torch.Tensor], bits: int, scales: Scales = "row") -> torch.dtype:
    """What the scales of a table are stored in: float16, or bfloat16 where that does not hold them.

    Both take 16 bits. bfloat16 has the range of float32, and 8 digits in place of 11: it is taken
    where a number is above 65504, or all numbers that share a scale are so small that steps between
    levels would lose their digits. Those below 2^-20 of the table's largest number decide nothing.

    Args:
        blocks: of a table's rows, (…, n, d); all of a column's numbers are in one where `scales`
            are of columns.
        bits: 1 to 8, or 16 where the numbers themselves are stored so.

    Raises:
        KDError: the largest number is above 2^126, or below 1e-33 and not zero; or none at all.

    Example:
        >>> stored_type([torch.randn(10, 4) * 1e6], bits=4)
        torch.bfloat16
    """
    axis = -1 if scales == "row" else -2
    sizes = torch.cat([block.abs().amax(axis).flatten().float() for block in blocks])
    largest = float(sizes.max()) if sizes.numel() else 0.0
    if not (largest == 0 or LEAST <= largest <= MOST):
        raise KDError(
            f"the largest number of a table to be rounded must be from {LEAST:g} to {MOST:.2g} in "
            f"size, got {largest:.3g}"
        )
    half = torch.finfo(torch.float16)
    few = half.smallest_normal / 4 * max(1, 2**bits / 32 if bits <= 8 else 1)
    small = (sizes > NOTHING * largest) & (sizes < few)
    return torch.bfloat16 if largest > half.max or bool(small.any()) else torch.float16


def quantise(
    rows: torch.Tensor, bits: int, stored: torch.dtype | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows (…, d) to levels 0 … 2^bits − 1 (…, d), scales and offsets (…, 1) in 16 bits.

    Of some ranges around the middle of each row, the one with the smallest squared error.

    Args:
        stored: the type of scales and offsets, that of the whole table; by default what
            `stored_type` says of these rows.

    Example:
        >>> levels, scale, offset = quantise(torch.randn(100, 50), bits=4)
        >>> rounded = dequantise(levels, scale, offset)
    """
    given = rows.float() if rows.dtype.itemsize < 4 else rows
    stored = stored_type([given], bits) if stored is None else stored
    # Squares of numbers that need the range would leave float32.
    rows = given if stored == torch.float16 else given.double()
    top = 2**bits - 1
    low, high = rows.amin(-1, keepdim=True), rows.amax(-1, keepdim=True)
    middle, half = (low + high) / 2, (high - low) / 2
    found: tuple[torch.Tensor, ...] = ()
    least = torch.full_like(low, torch.inf)
    for share in SHARES:
        scale, offset = (
            _narrow(part, stored) for part in (2 * share / top * half, middle - share * half)
        )
        step = scale.to(rows.dtype)
        # A row of equal numbers has no step.
        levels = (rows - offset) / torch.where(step > 0, step, torch.ones_like(step))
        tried = levels.round().clamp(0, top), scale, offset
        error = (dequantise(*tried) - rows).square().sum(-1, keepdim=True)
        better = error < least
        least = torch.where(better, error, least)
        found = tuple(torch.where(better, a, b) for a, b in zip(tried, found or tried, strict=True))
    levels, scale, offset = found
    return levels.to(given.dtype), scale, offset


def dequantise(levels: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """What the levels stand for: offset + scale · level, in the levels' type."""
    return levels * scale.to(levels.dtype) + offset.to(levels.dtype)


def rounded(
    table: torch.Tensor, bits: int, scales: Scales = "row", stored: torch.dtype | None = None
) -> torch.Tensor:
    """A table (…, n, d) with its numbers rounded, in its own type; 16 bits are float16.

    Args:
        stored: as of `quantise`, and where numbers are of 16 bits their own type.

    Example:
        >>> books = rounded(torch.randn(10, 16, 200), bits=4)
    """
    stored = stored_type([table], bits, scales) if stored is None else stored
    if bits == 16:
        return _narrow(table, stored).to(table.dtype)
    turned = table if scales == "row" else table.mT
    found = dequantise(*quantise(turned, bits, stored)).to(table.dtype)
    return found if scales == "row" else found.mT


def store_rounded(
    name: str, table: torch.Tensor, bits: int, scales: Scales = "row"
) -> dict[str, torch.Tensor]:
    """A table (…, n, d) as it is stored, by tensor name.

    Args:
        name: of the table; its tensors' names begin with it.
        bits: 1 to 8, or 16 for numbers in 16 bits, unrounded.
        scales: a scale and an offset a row, (…, n), or a column, (…, d).

    Returns:
        `<name>.rounded.levels`, one bit stream (uint8); `<name>.rounded.scale` and
        `<name>.rounded.offset` in float16; `<name>.rounded.shape`, which holds nothing and has the
        shape (0, …, n, d). Of 16 bits, `<name>` alone. Where float16 does not hold the numbers,
        bfloat16 is in its place; see `stored_type`.

    Raises:
        KDError: see `stored_type`.

    Example:
        >>> tensors = store_rounded("W", torch.randn(10, 16, 200), bits=4)
        >>> tensors["W.rounded.levels"].shape, tensors["W.rounded.scale"].shape
        (torch.Size([16000]), torch.Size([10, 16]))
    """
    table = table.detach()
    turned = table if scales == "row" else table.mT
    try:
        stored = stored_type([turned], bits)
    except KDError as error:
        raise KDError(f"{name}: {error}") from None
    if bits == 16:
        return {name: _narrow(table, stored)}
    parts = [quantise(part, bits, stored) for part in turned.flatten(0, -2).split(PIECE)]
    levels, scale, offset = (torch.cat(pieces) for pieces in zip(*parts, strict=True))
    shape = turned.shape[:-1]
    return {
        f"{name}.{LEVELS}": pack(levels.long().cpu(), bits),
        f"{name}.{SCALE}": scale.view(shape),
        f"{name}.{OFFSET}": offset.view(shape),
        f"{name}.{SHAPE}": table.new_empty(0, *table.shape, dtype=torch.uint8),
    }


def append_rounded(
    name: str, tensors: Mapping[str, torch.Tensor], more: torch.Tensor, bits: int, scales: Scales
) -> dict[str, torch.Tensor]:
    """A stored table (n, d) with more rows, by tensor name; the rows that are there stay.

    Where one part is in float16 and the other in bfloat16, both are in float32 from then on.

    Raises:
        KDError: numbers that share a scale with those of other rows.
    """
    stored = store_rounded(name, more, bits, scales)
    if bits == 16:
        return {name: torch.cat([tensors[name], stored[name]])}
    if scales == "column":
        raise KDError(
            "a table whose columns have a scale each takes no further rows; compress all of them "
            "anew"
        )
    found = {
        full: torch.cat([tensors[full], stored[full]])
        for full in (f"{name}.{SCALE}", f"{name}.{OFFSET}")
    }
    places = torch.arange(more.numel(), device=more.device)
    levels = unpack_at(stored[f"{name}.{LEVELS}"], places, bits)
    count = tensors[f"{name}.{SCALE}"].numel() * more.shape[1]
    found[f"{name}.{LEVELS}"] = append_packed(tensors[f"{name}.{LEVELS}"], count, levels, bits)
    shape = (0, found[f"{name}.{SCALE}"].numel(), more.shape[1])
    found[f"{name}.{SHAPE}"] = tensors[f"{name}.{SHAPE}"].new_empty(shape)
    return found


def stored_names(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the tables that `store_rounded` rounded to levels, in order."""
    tables = (
        name.removesuffix(f".{ending}")
        for name in tensors
        for ending in (LEVELS, SCALE, OFFSET, SHAPE)
        if name.endswith(f".{ending}")
    )
    return list(dict.fromkeys(tables))


def read_rounded(
    name: str, tensors: Mapping[str, torch.Tensor], bits: int, scales: Scales = "row"
) -> torch.Tensor:
    """The table that `store_rounded` stored at 1 to 8 bits, in float32.

    Raises:
        KDError: a tensor is missing, or they do not fit one another.
    """
    endings = (LEVELS, SCALE, OFFSET, SHAPE)
    for ending in endings:
        if f"{name}.{ending}" not in tensors:
            raise KDError(f"tensor '{name}.{ending}' is missing; there are: {', '.join(tensors)}")
    packed, scale, offset, like = (tensors[f"{name}.{ending}"].cpu() for ending in endings)
    shape = list(like.shape[1:])
    if scales == "column":
        shape[-2:] = shape[:-3:-1]
    table = torch.empty(shape, dtype=torch.float32, device="cpu")
    size = -(-table.numel() * bits // 8)
    if packed.shape != (size,) or not scale.shape == offset.shape == table.shape[:-1]:
        raise KDError(
            f"{name}: levels must be {size} bytes and scales and offsets of shape "
            f"{tuple(shape[:-1])}, got {packed.numel()}, {tuple(scale.shape)} and "
            f"{tuple(offset.shape)}"
        )
    whole, piece = table.view(-1), PIECE * shape[-1]
    for first in range(0, len(whole), piece):
        part = whole[first : first + piece]
        places = torch.arange(first, first + len(part), device="cpu")
        part.copy_(unpack_at(packed, places, bits))
    table = dequantise(table, scale[..., None], offset[..., None])
    return table if scales == "row" else table.mT.contiguous()


def read_rounded_rows(
    name: str, tensors: Mapping[str, torch.Tensor], rows: torch.Tensor, bits: int,
    scales: Scales = "row",
) -> torch.Tensor:  # fmt: skip
    """The given rows, int64 (n,), of a stored table (N, d), in float32: (n, d).

    They are those of `read_rounded`, or of the table in 16 bits; the others are not read.
    """
    if bits == 16:
        return F.embedding(rows, tensors[name]).float()
    levels, scale, offset, like = (
        tensors[f"{name}.{ending}"] for ending in (LEVELS, SCALE, OFFSET, SHAPE)
    )
    _, N, dim = like.shape
    columns = torch.arange(dim, device=rows.device)
    if scales == "row":
        positions = rows[:, None] * dim + columns
        scale, offset = (F.embedding(rows, part[:, None]) for part in (scale, offset))
    else:
        positions = columns * N + rows[:, None]
    return dequantise(unpack_at(levels, positions, bits).float(), scale, offset)


def _narrow(numbers: torch.Tensor, stored: torch.dtype) -> torch.Tensor:
    limit = torch.finfo(stored).max
    return numbers.clamp(-limit, limit).to(stored)
