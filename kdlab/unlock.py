"""Remove the lock that a killed run left in this folder, unless a run is alive here.

Snakemake keeps two runs apart by a lock that `kill -9` leaves behind. `make` calls this first,
so that the same command continues a killed run: `python -m kdlab.unlock`. A run on another machine
that shares the folder is never touched: its processes cannot be seen from here.

A folder has one run at a time, of whatever preset. Snakemake would take a second one that makes
other files, but whichever ends first removes the locks of both.

`python -m kdlab.unlock --beside` is for who only looks: beside a run that is alive it leaves the
lock and prints the option with which Snakemake does without one.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil

LOCKS = Path(".snakemake/locks")
# Where the run is that holds them.
HOST = Path(".snakemake/host")


def note_host() -> None:
    """Say on which machine the run is that begins."""
    # Imported here: to unlock, nothing waits for PyTorch.
    from kdcore.files import write_text

    write_text(HOST, platform.node() + "\n")


def forget_host() -> None:
    """The run has ended."""
    HOST.unlink(missing_ok=True)


def host_of_run() -> str:
    """The machine of the run that is going on or was killed; empty if none is known."""
    return HOST.read_text(encoding="utf-8").strip() if HOST.exists() else ""


def alive(folder: Path) -> list[int]:
    """Process ids of Snakemake runs, and of jobs that outlived theirs, in `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()[:3]
            words = words if words and "python" in Path(words[0]).name else words[:1]
            ours = any(Path(w).name == "snakemake" or "workflow/scripts/" in w for w in words)
            if ours and _is_in(process, folder):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def _is_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()) == folder
    except psutil.AccessDenied:
        # Another user's, who hides where it runs; but not whose it is.
        owners = {lock.stat().st_uid for lock in (folder / LOCKS).glob("*")}
        return process.uids().real in owners


def main() -> None:
    """Unlock, or end with one line when a run is alive."""
    folder = Path.cwd()
    if not os.access(folder, os.W_OK):
        sys.exit(f"error: {folder} cannot be written")
    locks = folder / LOCKS
    if not any(locks.glob("*")):
        return
    if sys.argv[1:] == ["--beside"] and (
        host_of_run() not in ("", platform.node()) or alive(folder)
    ):
        print("--nolock")
        return
    if (host := host_of_run()) not in ("", platform.node()):
        sys.exit(
            f"error: a run on {host} holds {folder}; whether it is alive is known only there: "
            "python -m kdlab.unlock on that machine, or snakemake --unlock if it is gone"
        )
    if running := alive(folder):
        sys.exit(
            f"error: a run is already going on in {folder} (process {running[0]}): wait for its "
            "end, or start this one in another clone; what has been measured so far: make collect"
        )
    subprocess.run([sys.executable, "-m", "snakemake", "--unlock", "--quiet"])
    if any(locks.glob("*")):
        sys.exit(f"error: the lock in {folder} stays: see above")


if __name__ == "__main__":
    main()
