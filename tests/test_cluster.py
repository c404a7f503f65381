"""Real SLURM, two nodes on this machine: `make test-cluster`.

Needs root and Debian's slurmctld, slurmd, slurm-client and munge. The executor strips SLURM's
variables from the environment, so the configuration has to be /etc/slurm/slurm.conf.
"""

import math
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from project_copy import (
    CONFIG,
    command,
    conventional,
    copy_project,
    edit,
    environment,
    eventually,
    model,
    plan,
    prepare,
    run,
    succeed,
)

from kdcore.files import read_json

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

CONFIGURATION = Path("/etc/slurm/slurm.conf")
MARK = "# of a test, may be removed"
PACKAGES = "slurmctld slurmd slurm-client munge"
# The profile's patience is for a cluster that others use too.
SLURM = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "2",
         "--latency-wait", "10")  # fmt: skip
GENERIC = ("--profile", "profiles/cluster", "--latency-wait", "10")


def slurm_conf(state: Path) -> str:
    host, nodes = socket.gethostname(), []
    for i in (0, 1):
        nodes.append(
            f"NodeName=n{i} NodeHostname={host} NodeAddr=127.0.0.1 Port={17001 + i} CPUs=2 "
            f"RealMemory=8000 State=UNKNOWN" + (" Gres=gpu:1" if i else "")
        )
    return "\n".join(
        [
            MARK,
            "ClusterName=test", f"SlurmctldHost={host}(127.0.0.1)", "SlurmctldPort=17000",
            "SlurmUser=root", "AuthType=auth/munge", "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none", "JobAcctGatherType=jobacct_gather/linux",
            "AccountingStorageType=accounting_storage/none", "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory", "ReturnToService=2", "SlurmdTimeout=10",
            "MinJobAge=300", "KillWait=5", "GresTypes=gpu", "MpiDefault=none",
            f"StateSaveLocation={state}/ctld", f"SlurmdSpoolDir={state}/%n",
            f"SlurmctldPidFile={state}/ctld.pid", f"SlurmdPidFile={state}/%n.pid",
            f"SlurmctldLogFile={state}/ctld.log", f"SlurmdLogFile={state}/%n.log",
            *nodes,
            "PartitionName=cpu Nodes=n0,n1 Default=YES MaxTime=INFINITE State=UP",
            "PartitionName=gpu Nodes=n1 MaxTime=INFINITE State=UP",
            "",
        ]
    )  # fmt: skip


def start_node(state: Path, i: int) -> None:
    subprocess.run(["slurmd", "-N", f"n{i}"], check=True)


def node_states() -> list[str]:
    told = subprocess.run(["sinfo", "-hN", "-p", "cpu", "-o", "%T"], capture_output=True, text=True)
    return told.stdout.split()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The folder of a running SLURM's state."""
    missing = [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if not
               shutil.which(name)]  # fmt: skip
    assert not missing, f"apt-get install --no-install-recommends {PACKAGES}"
    assert os.geteuid() == 0, "SLURM's daemons start as root only"
    if CONFIGURATION.exists():
        ours = CONFIGURATION.read_text().startswith(MARK)
        assert ours, f"{CONFIGURATION} belongs to a cluster: not touched"
    state = tmp_path_factory.mktemp("slurm")
    (state / "ctld").mkdir()
    CONFIGURATION.parent.mkdir(exist_ok=True)
    resources = CONFIGURATION.parent / "gres.conf"
    before = resources.read_bytes() if resources.exists() else None
    CONFIGURATION.write_text(slurm_conf(state))
    resources.write_text("NodeName=n1 Name=gpu File=/dev/null\n")
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    if subprocess.run(["munge", "-n"], capture_output=True).returncode:
        subprocess.run(["runuser", "-u", "munge", "--", "munged"], check=True)
    subprocess.run(["slurmctld"], check=True)
    for i in (0, 1):
        (state / f"n{i}").mkdir()
        start_node(state, i)
    try:
        eventually(lambda: node_states() == ["idle", "idle"])
        yield state
    finally:
        subprocess.run(["scancel", "--user", "root"])
        for file in state.glob("*.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)
        CONFIGURATION.unlink()
        if before is None:
            resources.unlink()
        else:
            resources.write_bytes(before)


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    """A project that has read its text."""
    project = copy_project(tmp_path_factory.mktemp("text") / "project")
    succeed(project, "data")
    return project


@pytest.fixture
def project(slurm, text, tmp_path) -> Iterator[Path]:
    """A project to run on the cluster; what it began there ends with the test."""
    target = copy_project(tmp_path / "project")
    shutil.copytree(text / "runs/texts", target / "runs/texts")
    yield target
    while begun:
        process = begun.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    subprocess.run(["scancel", "--user", "root"], check=True)
    eventually(lambda: not queue())


def slow(project: Path, epochs: int = 400) -> None:
    edit(project / CONFIG, "    epochs: 2\n", f"    epochs: {epochs}\n")
    edit(project / CONFIG, "text: {", "compute: {checkpoint_seconds: 0.5}\ntext: {")


@pytest.fixture(scope="module")
def same_as_undisturbed(tmp_path_factory) -> Callable[[Path], None]:
    """Compares a model with one trained without a cluster, which is trained once."""
    undisturbed: dict[str, bytes] = {}

    def compare(project: Path) -> None:
        trained = Path(conventional(project)).with_name("model.safetensors")
        if str(trained) not in undisturbed:
            alone = copy_project(tmp_path_factory.mktemp("alone") / "project")
            shutil.copy2(project / CONFIG, alone / CONFIG)
            succeed(alone, conventional(alone))
            undisturbed[str(trained)] = (alone / trained).read_bytes()
        assert (project / trained).read_bytes() == undisturbed[str(trained)]

    return compare


@pytest.fixture(scope="module")
def epoch_seconds(text, tmp_path_factory) -> float:
    """How long an epoch of a slow training takes on this machine."""
    alone, epochs = copy_project(tmp_path_factory.mktemp("epochs") / "project"), 100
    shutil.copytree(text / "runs/texts", alone / "runs/texts")
    slow(alone, epochs)
    succeed(alone, conventional(alone))
    return read_json(alone / conventional(alone))["wall_seconds"] / epochs


begun: list[subprocess.Popen] = []


def begin(project: Path, *arguments: str) -> subprocess.Popen:
    with (project / "snakemake.log").open("a") as output:
        begun.append(
            subprocess.Popen(
                command(*arguments, conventional(project)), cwd=project,
                env=environment(project), start_new_session=True, stdout=output, stderr=output,
            )
        )  # fmt: skip
    return begun[-1]


def trains(project: Path) -> bool:
    return any((project / "runs/scratch").glob("[!.]*.safetensors"))


def queue(*options: str) -> list[list[str]]:
    words = ["squeue", "-h", "-o", "%i %T %N", *options]
    told = subprocess.run(words, capture_output=True, text=True)
    return [line.split() for line in told.stdout.splitlines()]


def finish(process: subprocess.Popen, project: Path) -> None:
    assert process.wait(timeout=1200) == 0, (project / "snakemake.log").read_text()


def log_of_training(project: Path) -> str:
    return (project / conventional(project)).with_name("log.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """The whole demo without a cluster."""
    project = copy_project(tmp_path_factory.mktemp("demo") / "project")
    succeed(project, "all", preset="demo")
    return project


def same_demo(project: Path, demo: Path) -> None:
    for name in ("table1.csv", "table2.csv", "figure3_sweep.csv", "figure3.png"):
        here, there = (p / "results/demo" / name for p in (project, demo))
        assert here.read_bytes() == there.read_bytes()
    trained = list(demo.glob("runs/*/*/model.safetensors"))
    assert len(trained) > 10
    for path in trained:
        assert (project / path.relative_to(demo)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("profile", [SLURM, GENERIC], ids=["slurm", "cluster"])
def test_the_demo_is_the_same_as_without_a_cluster(slurm, demo, tmp_path, profile):
    project = copy_project(tmp_path / "project")
    succeed(project, *profile, "all", preset="demo")
    same_demo(project, demo)
    assert "Nothing to be done" in succeed(project, *profile, "all", preset="demo")


def test_the_demo_through_dvc_is_the_same(slurm, demo, tmp_path):
    project = prepare(tmp_path / "project", "demo")
    before = set(jobs_seen())
    run(project, "dvc", "repro", SNAKEMAKE_PROFILE="profiles/slurm")
    assert set(jobs_seen()) - before
    same_demo(project, demo)
    assert "up to date" in run(project, "dvc", "status")


def test_a_cancelled_job_is_submitted_again_and_continues(project, same_as_undisturbed):
    slow(project)
    process = begin(project, *SLURM)
    eventually(lambda: trains(project))
    subprocess.run(["scancel", queue()[0][0]], check=True)
    finish(process, project)
    assert "continuing from a checkpoint" in log_of_training(project)
    same_as_undisturbed(project)


def test_a_job_killed_at_its_time_limit_continues(project, epoch_seconds, same_as_undisturbed):
    # SLURM lets a job of one minute run for two at most.
    slow(project, math.ceil(150 / epoch_seconds))
    minute = ("--set-resources=train_model:runtime=1", "--retries", "12")
    process = begin(project, *SLURM, *minute)
    finish(process, project)
    assert "continuing from a checkpoint" in log_of_training(project)
    same_as_undisturbed(project)


def test_a_lost_node_does_not_make_two_write_one_file(project, slurm, same_as_undisturbed):
    """The job outlives its node's daemon; another is submitted elsewhere and waits for it."""
    slow(project, 700)
    process = begin(project, *SLURM)
    eventually(lambda: trains(project) and queue()[0][1] == "RUNNING")
    node = int(queue()[0][2].removeprefix("n"))
    pid = int((slurm / f"n{node}.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    try:
        finish(process, project)
    finally:
        start_node(slurm, node)
        eventually(lambda: node_states() == ["idle", "idle"])
    assert "another process is at it" in log_of_training(project)
    same_as_undisturbed(project)


def test_snakemake_killed_and_started_again(project, same_as_undisturbed):
    slow(project, 700)
    process = begin(project, *SLURM)
    eventually(lambda: trains(project))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(["snakemake", "--unlock", "--configfile", "config/tiny.yaml"], cwd=project,
                   env=environment(project), check=True)  # fmt: skip
    assert queue(), "the job goes on without Snakemake"
    finish(begin(project, *SLURM), project)
    assert "another process is at it" in log_of_training(project)
    same_as_undisturbed(project)


@pytest.mark.parametrize("profile", [SLURM, GENERIC], ids=["slurm", "cluster"])
def test_gpu_jobs_go_to_the_gpu_partition_and_others_do_not(project, profile):
    edit(project / profile[1] / "config.yaml", "device: cpu", "device: cuda")
    before = jobs_seen()
    points = plan(project).experiment.clustering()[0].path("points.csv")
    other = model(project, "small", "low-rank").path("measurement.json")
    process = begin(project, *profile, points, other)

    def seen() -> set[tuple[str, bool]]:
        return {job for number, job in jobs_seen().items() if number not in before}

    try:
        # The one GPU of profiles/default is not the cluster's.
        eventually(lambda: len(queue("--partition=gpu")) == 2)
        eventually(lambda: len(seen()) == 2)
        assert seen() == {("gpu", True), ("cpu", False)}
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()


def jobs_seen() -> dict[str, tuple[str, bool]]:
    """Partition, and whether one GPU was asked for, of every job that SLURM remembers."""
    told = subprocess.run(["scontrol", "show", "jobs", "-o"], capture_output=True, text=True)
    found = {}
    for line in told.stdout.splitlines():
        fields = dict(field.split("=", 1) for field in line.split() if "=" in field)
        if "JobId" in fields:
            asked = [value for name, value in fields.items() if name.startswith("TresPer")]
            found[fields["JobId"]] = fields["Partition"], any("gpu:1" in value for value in asked)
    return found
