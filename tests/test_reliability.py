"""Killed twenty times at random moments, the run still ends with the same bytes.

Takes a quarter of an hour: `make test-reliability`.
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
from test_dvc import prepare, variables
from test_dvc import run as run_by
from test_workflow import command, copy_project, succeed, unlock

pytestmark = pytest.mark.reliability

KILLS = 20
OUTPUTS = ("model.safetensors", "codes.safetensors", "curve.csv", "history.csv")
TABLES = ("table1.csv", "table2.csv", "figure3_sweep.csv", "figure3.png", "claims.csv")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, float]:
    """A project run in one go, and the seconds it took."""
    project = copy_project(tmp_path_factory.mktemp("undisturbed") / "project")
    begun = time.monotonic()
    succeed(project, "all")
    return project, time.monotonic() - begun


def kill_at_random(project: Path, words: list[str], seconds: float, seed: int) -> int:
    """Start and kill until twenty kills are done or the run has ended; the number of kills."""
    moments = random.Random(seed)
    for kills in range(KILLS):
        assert unlock(project).returncode == 0
        process = subprocess.Popen(
            words, cwd=project, env=variables(), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(timeout=moments.uniform(0.5, max(8.0, seconds / 6)))
            return kills
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return KILLS


def same(project: Path, other: Path) -> None:
    compared = 0
    for path in other.rglob("*"):
        if path.name in OUTPUTS or (path.name in TABLES and "results" in path.parts):
            assert (project / path.relative_to(other)).read_bytes() == path.read_bytes(), path
            compared += 1
    assert compared > 20
    assert not [p for p in (project / "runs").rglob(".*.safetensors.*") if "scratch" not in p.parts]


def test_snakemake(undisturbed, tmp_path):
    project = copy_project(tmp_path / "project")
    kills = kill_at_random(project, command("all"), undisturbed[1], seed=1)
    assert kills >= 5
    unlock(project)
    succeed(project, "all")
    same(project, undisturbed[0])


def test_dvc(undisturbed, tmp_path):
    project = prepare(tmp_path / "project")
    words = [sys.executable, "-m", "dvc", "repro"]
    kills = kill_at_random(project, words, undisturbed[1], seed=2)
    assert kills >= 5
    run_by(project, "dvc", "repro")
    same(project, undisturbed[0])
    assert "up to date" in run_by(project, "dvc", "status")


def test_two_runs_at_once_through_dvc(undisturbed, tmp_path):
    project = prepare(tmp_path / "project")
    shutil.copytree(undisturbed[0] / "data", project / "data")
    words = [sys.executable, "-m", "dvc", "repro"]
    first = subprocess.Popen(
        words, cwd=project, env=variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    time.sleep(4)
    second = subprocess.run(words, cwd=project, env=variables(), capture_output=True, text=True)
    told = second.stdout + second.stderr
    assert second.returncode != 0 and ("lock" in told or "already going on" in told), told
    assert first.communicate()[0] and first.returncode == 0
    same(project, undisturbed[0])
