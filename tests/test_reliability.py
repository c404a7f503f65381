"""The demo killed at random moments until it is done, on a full disk and on a read-only one.

It still ends with the same bytes. Takes half an hour, and root for the disks:
`make test-reliability`.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from project_copy import (
    command,
    copy_project,
    edit,
    planned,
    prepare,
    snakemake,
    succeed,
    unlock,
    variables,
)
from project_copy import run as run_by
from safetensors.torch import load_file

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(0)]

KILLS = 20
OUTPUTS = ("model.safetensors", "codes.safetensors", "curve.csv", "history.csv")
TABLES = ("table1.csv", "table2.csv", "figure3_sweep.csv", "figure3.png", "claims.csv")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, float]:
    """A project run in one go, and the seconds it took."""
    project = copy_project(tmp_path_factory.mktemp("undisturbed") / "project")
    begun = time.monotonic()
    succeed(project, "all", preset="demo")
    return project, time.monotonic() - begun


def kill_at_random(project: Path, words: list[str], seconds: float, seed: int) -> None:
    """Start and kill until a run ends by itself: at least twenty times, over its whole length.

    Each try has the time that starting takes and, in the mean, less than a twentieth of the whole;
    after the twentieth more and more. Checkpoints are frequent. So on a machine that has become
    busy, too, each try comes further.
    """
    edit(project / "config/demo.yaml", "checkpoint_seconds: 60.0", "checkpoint_seconds: 1.0")
    moments = random.Random(seed)
    begun = time.monotonic()
    planned(project, preset="demo")
    starting = time.monotonic() - begun
    for kill in range(10 * KILLS):
        assert unlock(project).returncode == 0
        process = subprocess.Popen(
            words, cwd=project, env=variables(project), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            allowed = starting + moments.uniform(0.0, 1.5 * seconds / KILLS)
            process.wait(timeout=allowed * max(1.0, kill / KILLS))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        else:
            assert process.returncode == 0 and kill >= KILLS, (process.returncode, kill)
            return
    raise AssertionError(f"not at its end after {kill + 1} kills")


def same(project: Path, other: Path, at_least: int = 50) -> None:
    compared = 0
    for path in other.rglob("*"):
        if path.name in OUTPUTS or (path.name in TABLES and "results" in path.parts):
            assert (project / path.relative_to(other)).read_bytes() == path.read_bytes(), path
            compared += 1
    assert compared >= at_least
    assert not [p for p in (project / "runs").rglob(".*.safetensors.*") if "scratch" not in p.parts]


def test_killed_twenty_times_it_ends_with_the_same_bytes(undisturbed, tmp_path):
    project = copy_project(tmp_path / "project")
    kill_at_random(project, command("all", preset="demo"), undisturbed[1], seed=1)
    same(project, undisturbed[0])


def test_killed_twenty_times_through_dvc_it_ends_with_the_same_bytes(undisturbed, tmp_path):
    project = prepare(tmp_path / "project", "demo")
    words = [sys.executable, "-m", "dvc", "repro"]
    kill_at_random(project, words, undisturbed[1], seed=2)
    same(project, undisturbed[0])
    assert "up to date" in run_by(project, "dvc", "status")


def test_two_runs_at_once_through_dvc(undisturbed, tmp_path):
    project = prepare(tmp_path / "project", "demo")
    shutil.copytree(undisturbed[0] / "runs/texts", project / "runs/texts")
    words = [sys.executable, "-m", "dvc", "repro"]
    first = subprocess.Popen(
        words, cwd=project, env=variables(project), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    time.sleep(4)
    second = subprocess.run(
        words, cwd=project, env=variables(project), capture_output=True, text=True
    )
    told = second.stdout + second.stderr
    assert second.returncode != 0 and ("lock" in told or "already going on" in told), told
    assert first.communicate()[0] and first.returncode == 0
    same(project, undisturbed[0])


@pytest.fixture
def disk(tmp_path) -> Path:
    """A file system of its own."""
    assert os.geteuid() == 0, "only root can mount one"
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def fill(place: Path, left: int) -> Path:
    """Fill a file system up to some bytes."""
    filler = place / "filler"
    with filler.open("wb") as stream:
        stream.write(bytes(shutil.disk_usage(place).free - left))
    return filler


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A project run in one go with the smallest preset."""
    project = copy_project(tmp_path_factory.mktemp("tiny") / "project")
    succeed(project, "all")
    return project


def no_traceback_of_ours(project: Path, told: str) -> None:
    """Snakemake shows its own where it cannot write its log or its lock; scripts say one line."""
    assert f'File "{project}/workflow/' not in told, told
    assert f'File "{project}/kdcore/' not in told, told
    assert f'File "{project}/kdlab/' not in told, told


@pytest.mark.parametrize("left", [20_000, 100_000, 300_000])
def test_a_full_disk(disk, tiny, left):
    project = copy_project(disk / "project")
    filler = fill(disk, left)
    failed = snakemake(project, "all")
    told = failed.stdout + failed.stderr
    assert failed.returncode != 0 and "No space left on device" in told, told
    no_traceback_of_ours(project, told)
    for path in (project / "runs").rglob("[!.]*.safetensors"):
        load_file(path)
    filler.unlink()
    unlock(project)
    succeed(project, "all")
    same(project, tiny, at_least=10)


def test_a_full_disk_through_dvc(disk, tiny):
    project = prepare(disk / "project")
    filler = fill(disk, 300_000)
    told = run_by(project, "dvc", "repro", fails=True)
    assert "No space left on device" in told, told
    no_traceback_of_ours(project, told)
    filler.unlink()
    run_by(project, "dvc", "repro")
    same(project, tiny, at_least=10)
    assert "up to date" in run_by(project, "dvc", "status")


def test_a_folder_that_cannot_be_written(disk, tiny):
    project = copy_project(disk / "project")
    succeed(project, "codes")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    failed = snakemake(project, "all")
    told = failed.stdout + failed.stderr
    assert failed.returncode != 0 and "Read-only file system" in told, told
    no_traceback_of_ours(project, told)
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    succeed(project, "all")
    same(project, tiny, at_least=10)
