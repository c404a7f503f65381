"""Named tensors and a JSON header in one safetensors file: no pickle."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch._C import _get_tracing_state as tracing_state
from torch._C._functorch import is_batchedtensor
from torch.compiler import is_compiling

from kdcore.errors import KDError
from kdcore.files import atomic_path, why_no_file


@contextmanager
def on_cpu() -> Iterator[None]:
    """New tensors are on the CPU, whatever PyTorch's default device is; also a decorator."""
    if torch.get_default_device().type == "cpu":
        yield
    else:
        with torch.device("cpu"):
            yield


def is_traced(tensor: torch.Tensor) -> bool:
    """Whether no values of the tensor can be looked at: they stand for others."""
    return is_compiling() or tracing_state() is not None or is_batchedtensor(tensor)


def save_tensors(
    path: str | Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, object]
) -> None:
    """Store named tensors and a JSON header in one safetensors file."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        # One metadata entry: safetensors does not keep the order of several.
        metadata = {"header": json.dumps(header, ensure_ascii=False)}
        try:
            save_file(plain, str(temporary), metadata=metadata)
        except (SafetensorError, UnicodeEncodeError) as error:  # half a surrogate is no text
            raise KDError(f"cannot write {path}: {error}") from None


def load_tensors(
    path: str | Path, kind: str, needed: Iterable[str] = ()
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote and check that its header names this `kind`.

    Args:
        needed: names that must be there, of tensors or in the header.

    Raises:
        KDError: the file is missing, damaged, or holds something else.
    """
    if (why := why_no_file(path)) is not None:
        raise KDError(f"{path}: {why}")
    try:
        with safe_open(str(path), framework="pt") as stored:
            header = json.loads((stored.metadata() or {}).get("header", "{}"))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError, RecursionError) as error:
        raise KDError(f"{path}: damaged or not a safetensors file ({error})") from None
    found = header.get("kind", "no kdcore data") if isinstance(header, dict) else "no kdcore data"
    if found != kind:
        raise KDError(f"{path}: holds {found!r}, not {kind!r}")
    for name, tensor in tensors.items():
        if tensor.is_complex():
            raise KDError(f"{path}: tensor {name!r} must hold real numbers, got {tensor.dtype}")
    for name in needed:
        if name not in tensors and name not in header:
            raise KDError(f"{path}: damaged, {name!r} is missing")
    return tensors, header


@contextmanager
def read_from(path: str | Path, what: str) -> Iterator[None]:
    """Tell in a line whatever fails in making something of the contents of a file.

    A header can hold anything, and tensors any numbers.

    Args:
        what: is made of them.

    Raises:
        KDError: something has failed.
    """
    try:
        yield
    except KDError as error:
        raise KDError(f"{path}: {' '.join(str(error).split())}") from None
    except (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError,
            TypeError, ValueError) as error:  # fmt: skip
        line = " ".join(str(error).split()) or type(error).__name__
        raise KDError(f"{path}: damaged, no {what} can be made of it ({line})") from None


def count_of(header: Mapping[str, Any], name: str) -> int:
    """A number above 0 in a header.

    Raises:
        KDError: it is missing, or something else.
    """
    if name not in header:
        raise KDError(f"damaged, {name!r} is missing")
    found = header[name]
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise KDError(f"{name} must be an integer above 0, got {found!r}")
    return found
