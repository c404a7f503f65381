"""Files that are either whole or absent, and hashes of what they hold."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdcore.errors import KDError


def why_no_file(path: str | Path) -> str | None:
    """Why a path leads to no file; None where it leads to one."""
    found = Path(path)
    if found.is_file():
        return None
    if found.is_dir():
        return "is a folder, not a file"
    return "is a pipe or a device, not a file" if found.exists() else "no such file"


def check_output(path: str | Path) -> None:
    """Refuse a name that no file can take: what has it would be replaced.

    Raises:
        KDError: a folder, a pipe or a device.
    """
    # A path with a separator behind it is that of a folder, whether it is there or not.
    folder = Path(path).is_dir() or str(path).endswith(("/", os.sep))
    if folder or Path(path).exists():
        why = "is a folder, not a file" if folder else why_no_file(path)
        if why is not None:
            raise KDError(f"{path}: {why}")


def check_folder(path: str | Path) -> None:
    """Refuse a name in a folder in which no file can be made, as far as can be told beforehand.

    Raises:
        KDError: what is to be a folder is a file, or nothing can be written in it.
    """
    folder = next(above for above in Path(path).absolute().parents if above.exists())
    if not folder.is_dir():
        raise KDError(f"cannot write {path}: {folder} is a file, not a folder")
    if not os.access(folder, os.W_OK):
        raise KDError(f"cannot write {path}: nothing can be written in {folder}")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there when the block ends well.

    A killed or failing block leaves nothing under the final name, and two writers
    never share a temporary file.

    Raises:
        KDError: the folder cannot be written or the disk is full; the path is that of a folder, a
            pipe or a device; a file that the block reads cannot be read, which the message then
            names.
    """
    check_output(path)
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb+") as written:  # Windows syncs none that is open to read alone
            os.fsync(written.fileno())
        # mkstemp makes private files; results are meant to be shared.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        named = {str(name) for name in (error.filename, error.filename2) if name is not None}
        if temporary is not None and named and str(temporary) not in named:
            raise KDError(f"{error.filename}: {error.strerror}") from error
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


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        KDError: the file is missing, is not JSON, or holds something else than an object.
    """
    if (why := why_no_file(path)) is not None:
        raise KDError(f"{path}: {why}")
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise KDError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise KDError(f"{path}: must hold a JSON object, got {type(value).__name__}")
    return value


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
    return short_hash(canonical.encode())


def short_hash(data: bytes) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()[:16]
