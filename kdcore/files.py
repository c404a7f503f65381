"""Files that are either whole or absent, and tensors stored without pickle."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kdcore.errors import KDError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there when the block ends well.

    A killed or failing block leaves nothing under the final name, and two writers
    never share a temporary file.

    Raises:
        KDError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes private files; results are meant to be shared.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise KDError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: object) -> None:
    """Write a JSON file whole or not at all, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> dict:
    """Read a JSON file.

    Raises:
        KDError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KDError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise KDError(f"{path}: not valid JSON ({error})") from None


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
        except SafetensorError as error:
            raise KDError(f"cannot write {path}: {error}") from None


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Read what `save_tensors` wrote and check that its header names this `kind`.

    Raises:
        KDError: the file is missing, damaged, or holds something else.
    """
    if not Path(path).is_file():
        raise KDError(f"{path}: no such file")
    try:
        with safe_open(str(path), framework="pt") as stored:
            header = json.loads((stored.metadata() or {}).get("header", "{}"))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise KDError(f"{path}: damaged or not a safetensors file ({error})") from None
    if header.get("kind") != kind:
        raise KDError(f"{path}: holds {header.get('kind', 'no kdcore data')!r}, not {kind!r}")
    return tensors, header


def sha256(path: str | Path) -> str:
    """The file's SHA-256 as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(value: object) -> str:
    """A short, stable hash (16 hexadecimal digits) of a JSON-like value."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
