"""Stored traces, and the comparison of computed ones with them."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
COMMAND = "python -m tests.golden --renew"
# Processors add in different orders. A trace's floats differ by this share of their size at most,
# as measured with PyTorch and its libraries held to SSE, AVX2 and AVX-512 instructions.
TOLERANCE = 1e-4
# Where two values of an index are all but equally good, rounding decides: so many may differ.
EQUAL_CODES = 0.99


def stored(group: str) -> dict[str, Any]:
    """The traces in a file."""
    path = FOLDER / f"{group}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def store(group: str, entries: Mapping[str, Any]) -> None:
    """Write a file of traces, one line a value."""
    lines = []
    for name, entry in sorted(entries.items()):
        values = ",\n".join(f"    {_json(k)}: {_json(v)}" for k, v in entry["values"].items())
        numerics = _json(entry["numerics"])
        lines.append(
            f' {_json(name)}: {{\n  "numerics": {numerics},\n  "values": {{\n{values}\n  }}\n }}'
        )
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (FOLDER / f"{group}.json").write_text(text, encoding="utf-8")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def numerics(versions: Sequence[str]) -> dict[str, int]:
    """Versions of what is computed, such as `kdcore.learners.refine.NUMERICS`, by their names."""
    places = {name: name.rpartition(".") for name in versions}
    return {name: getattr(import_module(module), at) for name, (module, _, at) in places.items()}


def differences(expected: Any, found: Any, tolerance: float, where: str = "") -> Iterator[str]:
    """What differs, a line each. Integers and text are compared exactly."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name in {**expected, **found}:
            if name not in expected or name not in found:
                yield f"{where}{name}: only in the {'old' if name in expected else 'new'} trace"
            else:
                yield from differences(expected[name], found[name], tolerance, f"{where}{name}")
        return
    old, new = list(_flat(expected)), list(_flat(found))
    if len(old) != len(new):
        yield f"{where}: {len(old)} values then, {len(new)} now"
    elif where.rpartition(".")[2] == "codes":
        equal = sum(a == b for a, b in zip(old, new, strict=True)) / len(old)
        if equal < EQUAL_CODES:
            yield f"{where}: {equal:.1%} of the indices are as they were"
    elif any(isinstance(value, float) for value in old):
        # Small values among large ones are known as well as those.
        size = math.sqrt(sum(value**2 for value in old) / len(old))
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            if not abs(a - b) <= tolerance * max(abs(a), size):
                yield f"{where}[{i}]: {a!r} then, {b!r} now"
                return
    elif old != new:
        yield f"{where}: {expected!r} then, {found!r} now"


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _flat(part)
    else:
        yield value
