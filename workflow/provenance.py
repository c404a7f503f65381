"""What a result was made with: a hash of the code that matters, versions, the commit."""

import ast
import hashlib
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def code_hash(script: str | Path) -> str:
    """Hash of a script and of every project module it imports, directly or not.

    Comments, docstrings, layout and `description=` texts do not count: they cannot change a
    result, and mending one must not retrain a model. `kdcore/__init__.py` only re-exports.
    """
    digest = hashlib.sha256()
    for path in sorted(_closure(Path(script).resolve())):
        digest.update(path.relative_to(ROOT).as_posix().encode())
        digest.update(_meaning(path).encode())
    return digest.hexdigest()[:16]


def _closure(script: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_imports(path))
    return found


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(path: Path) -> list[Path]:
    names = []
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    places = []
    for name in names:
        relative = Path(*name.split(".")).with_suffix(".py")
        # A package's __init__ only re-exports or is empty.
        places += [p for p in (ROOT / relative, path.parent / relative) if p.is_file()]
    return places


@cache
def _meaning(path: Path) -> str:
    tree = _parse(path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(getattr(body[0].value, "value", None), str):
                body.pop(0)
        if isinstance(node, ast.Call):
            node.keywords = [k for k in node.keywords if k.arg != "description"]
    return ast.dump(tree)


def environment() -> dict[str, str]:
    """Versions, processor and commit, for a measurement's record."""
    return {
        "python": platform.python_version(),
        "torch": version("torch"),
        "commit": _commit(),
    }


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
