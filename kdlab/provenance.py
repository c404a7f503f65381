"""What a result was made with: a hash of the code that matters, versions, the commit."""

import ast
import hashlib
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import kdcore

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
        elif isinstance(node, ast.ImportFrom) and node.module == "kdcore":
            # What the package re-exports counts as the module it comes from.
            names += [f"kdcore.{kdcore._HOME.get(a.name, a.name)}" for a in node.names]
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
    return repr(_plain(tree))


def _plain(node: object) -> object:
    """A syntax tree without its empty fields, whose number grows with Python's version."""
    if isinstance(node, ast.AST):
        fields = [(name, _plain(value)) for name, value in ast.iter_fields(node)]
        return type(node).__name__, [(name, value) for name, value in fields if value]
    if isinstance(node, list):
        return [_plain(item) for item in node]
    return () if node is None else repr(node)


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
