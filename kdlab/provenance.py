"""What a result was made with: versions, processor, commit."""

import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent


def environment() -> dict[str, str]:
    """Versions, processor, arithmetic and commit, for a measurement's record."""
    return {
        "python": platform.python_version(),
        "torch": version("torch"),
        "processor": processor(),
        "blas": blas(),
        "commit": commit(),
    }


def processor() -> str:
    """The processor's name and the instructions that PyTorch uses of it."""
    name = ""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        name = next(named, "")
    except OSError:
        pass
    has = [torch.backends.cpu.get_cpu_capability()]
    if torch.cpu._is_amx_tile_supported():
        has.append("AMX")
    return f"{name or platform.processor() or platform.machine()} ({', '.join(has)})"


def blas() -> str:
    """The library of PyTorch's default matrix product."""
    found = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return found.group(1) if found else "unknown"


def commit(root: Path = ROOT) -> str:
    """The project's own commit, with `-dirty` after it where files were changed.

    `unknown` and the reason where the project is not a repository of its own, as when it was
    unpacked into another's.
    """
    done = _git(root, "rev-parse", "--show-toplevel")
    if isinstance(done, str):
        return f"unknown ({done})"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["git says nothing"]
        return f"unknown ({lines[0].removeprefix('fatal: ')})"
    if Path(done.stdout.strip()).resolve() != root.resolve():
        return "unknown (the project is not a git repository of its own)"
    described = _git(root, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    if isinstance(described, str):
        return f"unknown ({described})"
    return described.stdout.strip() or "unknown (there is no commit)"


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[str] | str:
    """What git says, or why there is no git."""
    command = ["git", "-C", str(root), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        return type(error).__name__
