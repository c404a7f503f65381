"""A copy of the project, run as a user runs it: with Snakemake, with DVC, with git."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from kdlab.addresses import Run
from kdlab.planning import Plan

ROOT = Path(__file__).parent.parent
CODE = ("Snakefile", "rules", "workflow", "kdcore", "kdlab", "config", "profiles")
CONFIG = "config/tiny.yaml"


def copy_project(target: Path) -> Path:
    target.mkdir(parents=True)
    for name in CODE:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, target / name, ignore=ignore)
        else:
            shutil.copy2(ROOT / name, target / name)
    shutil.copy2(ROOT / "tests" / "tiny.yaml", target / "config" / "tiny.yaml")
    return target


def command(*arguments: str, preset: str = "tiny") -> list[str]:
    return [
        sys.executable, "-m", "snakemake", "--cores", "2", *arguments,
        "--configfile", f"config/{preset}.yaml",
    ]  # fmt: skip


def environment(project: Path) -> dict[str, str]:
    """Of a command in a copy of the project: it imports the copy's own packages."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # A GPU that happens to be here is hidden: these tests are about the CPU and about its absence.
    return {
        **os.environ, "PATH": path, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip


def plan(project: Path, preset: str = "tiny") -> Plan:
    """The runs that a preset of the copy asks for."""
    with contextlib.chdir(project):
        return Plan.of(f"config/{preset}.yaml", check_files=False)


def model(project: Path, model: str, method: str, seed: int = 1) -> Run:
    """The run of a language model of the copy's preset."""
    return plan(project).experiment.model(model, method, seed)


def conventional(project: Path) -> str:
    """What the small model with a full table measures: the first training of the preset."""
    return model(project, "small", "conventional").path("measurement.json")


def snakemake(project: Path, *arguments: str, preset: str = "tiny") -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments, preset=preset), cwd=project, env=environment(project),
        capture_output=True, text=True,
    )  # fmt: skip


def succeed(project: Path, *arguments: str, preset: str = "tiny") -> str:
    done = snakemake(project, *arguments, preset=preset)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def planned(
    project: Path, target: str = "all", *options: str, preset: str = "tiny"
) -> dict[str, int]:
    """Rules that a dry run would execute, with their number of jobs."""
    text = succeed(project, "-n", target, *options, preset=preset)
    table = text.partition("Job stats:")[2].partition("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}


def start(project: Path, target: str) -> subprocess.Popen:
    """Begin a target in a process group of its own."""
    return subprocess.Popen(
        command(target), cwd=project, env=environment(project), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def unlock(project: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "kdlab.unlock"], cwd=project, env=environment(project),
        capture_output=True, text=True,
    )  # fmt: skip


def eventually(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def run(project: Path, *words: str, fails: bool = False, **more: str) -> str:
    """What a command says; `more` goes into its environment."""
    done = subprocess.run(
        [sys.executable, "-m", *words] if words[0] == "dvc" else words,
        cwd=project, env={**variables(project), **more}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def variables(project: Path) -> dict[str, str]:
    who = {f"GIT_{role}_{what}": "tester" for role in ("AUTHOR", "COMMITTER") for what in
           ("NAME", "EMAIL")}  # fmt: skip
    return {**environment(project), **who, "GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "1"}


def in_a_terminal(project: Path, words: list[str], ctrl_c: bool) -> tuple[int, str]:
    """Exit status and all that is printed; Ctrl-C comes once there is a checkpoint."""
    process = subprocess.Popen(
        words, cwd=project, env=variables(project), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # Ignored in what runs in the background, and then in all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        if ctrl_c:
            eventually(lambda: any((project / "runs/scratch").glob("[!.]*.safetensors")))
            # What a terminal does: all that is in the foreground is told.
            os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return process.returncode, output


def jobs_in(project: Path) -> list[psutil.Process]:
    """Trainings that run in a project."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()) == project and "train.py" in " ".join(process.cmdline()[:2]):
                found.append(process)
    return found


def commit(project: Path, tag: str) -> None:
    run(project, "git", "add", "-A")
    run(project, "git", "commit", "-q", "-m", tag)
    run(project, "git", "tag", tag)


def results(project: Path) -> dict[str, bytes]:
    found = sorted((project / "results/tiny").iterdir())
    return {p.name: p.read_bytes() for p in found if p.is_file()}


def prepare(project: Path, preset: str = "tiny") -> Path:
    """The project with DVC, for a preset."""
    copy_project(project)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
        shutil.copy2(ROOT / name, project / name)
    edit(project / "params.yaml", "preset: paper", f"preset: {preset}")
    (project / "measurements").mkdir()
    shutil.copy2(ROOT / "measurements/README.md", project / "measurements")
    shutil.copytree(ROOT / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache"))
    run(project, "git", "init", "-q")
    return project


def up_to_date(project: Path) -> None:
    """Both engines find nothing to do."""
    assert planned(project) == {}
    assert "up to date" in run(project, "dvc", "status")
