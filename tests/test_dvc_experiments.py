"""Experiments, metrics and plots of DVC; presets of one's own; a killed run."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from project_copy import (
    CONFIG,
    ROOT,
    commit,
    edit,
    eventually,
    planned,
    prepare,
    run,
    succeed,
    up_to_date,
    variables,
)

pytestmark = pytest.mark.workflow

ROW = "small.linear+linear"


@pytest.fixture(scope="module")
def committed(tmp_path_factory) -> Path:
    """A project that has been run and committed, the tag A."""
    project = prepare(tmp_path_factory.mktemp("experiments") / "project")
    run(project, "dvc", "repro")
    commit(project, "A")
    return project


@pytest.fixture
def project(committed, tmp_path) -> Path:
    target = tmp_path / "project"
    shutil.copytree(committed, target, symlinks=True)
    return target


def shown(project: Path) -> dict[str, dict[str, str]]:
    """The rows of `dvc exp show`, by experiment."""
    told = run(project, "dvc", "exp", "show", "--csv")
    table = csv.DictReader(io.StringIO(told[told.index("Experiment,") :]))
    return {row["Experiment"] or row["rev"]: row for row in table}


def test_experiments_with_another_K_D_and_schedule(project):
    # Without aliases: DVC loses a change to what one repeats.
    plain = json.dumps(yaml.safe_load((project / CONFIG).read_text(encoding="utf-8")), indent=1)
    (project / CONFIG).write_text(plain, encoding="utf-8")
    commit(project, "plain")
    other = {
        "narrow": ("table1.K=3", "figure3.sweep.K=[2,3]"),
        "long": ("table1.D=3", "figure3.sweep.D=[1,3]", "sizes.small.epochs=3"),
    }
    for name, settings in other.items():
        run(project, "git", "checkout", "-q", "-f", "plain")
        told = run(project, "dvc", "exp", "run", "-n", name,
                   *(word for s in settings for word in ("-S", f"{CONFIG}:{s}")))  # fmt: skip
        assert name in told
        up_to_date(project)
    found = shown(project)
    before = found["plain"]
    for name in other:
        # K and D change a row's perplexity, size and rate.
        for column in ("test_ppl", "size", "rate"):
            assert float(found[name][f"{ROW}.{column}"]) != float(before[f"{ROW}.{column}"])
    conventional = [found[name]["small.conventional.test_ppl"] for name in ("narrow", "long")]
    assert conventional[0] == before["small.conventional.test_ppl"] != conventional[1]
    assert (found["narrow"]["table1.K"], before["table1.K"]) == ("3", "4")
    assert (found["long"]["table1.D"], found["long"]["sizes.small.epochs"]) == ("3", "3")

    metrics = json.loads(run(project, "dvc", "metrics", "show", "--json"))
    values = metrics[""]["data"]["results/tiny/metrics.json"]["data"]["small"]["linear+linear"]
    assert values["test_ppl"] == float(found["long"][f"{ROW}.test_ppl"])
    run(project, "dvc", "plots", "show", "-o", "shown")
    page = (project / "shown/index.html").read_text(encoding="utf-8")
    assert len(re.findall("<img", page)) == 3
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page)


def test_an_experiment_with_another_preset(project):
    other = (project / CONFIG).read_text(encoding="utf-8").replace("preset: tiny", "preset: other")
    (project / "config/other.yaml").write_text(other, encoding="utf-8")
    commit(project, "two-presets")
    run(project, "dvc", "exp", "run", "--set-param", "preset=other")
    tables = [project / f"results/{name}/table1.csv" for name in ("tiny", "other")]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    up_to_date(project)
    assert planned(project) == {}


def test_metrics_and_plots_between_two_commits(project):
    edit(project / CONFIG, "decay: 0.5\n    epochs: 2", "decay: 0.5\n    epochs: 1")
    run(project, "dvc", "repro")
    change = json.loads(run(project, "dvc", "metrics", "diff", "--json", "A"))
    ppl = change["results/tiny/metrics.json"]["small.conventional.test_ppl"]
    assert ppl["diff"] != 0
    run(project, "dvc", "plots", "diff", "A", "-o", "shown")
    page = (project / "shown/index.html").read_text(encoding="utf-8")
    assert len(re.findall("<img", page)) >= 6
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page)


def test_a_preset_of_ablations_alone(tmp_path):
    project = prepare(tmp_path / "project")
    shutil.copy2(ROOT / "tests/tiny_ablations.yaml", project / CONFIG)
    run(project, "dvc", "repro")
    up_to_date(project)
    page = (project / "results/tiny/report.html").read_text(encoding="utf-8")
    assert re.search(r"<td>plain</td><td>small</td><td>linear</td>\s*<td class=\"n\">\d", page)
    assert "Table 1" not in page
    run(project, "dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    commit(project, "A")
    run(project, "dvc", "push")
    run(tmp_path, "git", "clone", "-q", "project", "clone")
    run(tmp_path / "clone", "dvc", "pull")
    up_to_date(tmp_path / "clone")


def test_files_of_ones_own_are_seen_by_both(tmp_path):
    project = prepare(tmp_path / "project")
    mine = project / "mine"
    mine.mkdir()
    for name in ("train.txt", "valid.txt", "test.txt"):
        (mine / name).write_text("the cat sat on the mat\n" * 50)
    (mine / "my.vec").write_text("".join(f"word{i} {i} {i % 3}\n" for i in range(30)))
    generated = "{kind: generated, tokens: 2000, seed: 1}"
    edit(project / CONFIG, generated, "{kind: text, folder: mine}")
    edit(project / CONFIG, "{kind: baseline, size: small}", "{kind: file, path: mine/my.vec}")
    told = run(project, "dvc", "repro", "data", fails=True)
    assert "mine/train.txt: DVC would not see it change" in told

    edit(project / "params.yaml", "own: config/paper_numbers.yaml", "own: mine")
    run(project, "dvc", "repro", "data")
    assert "up to date" in run(project, "dvc", "status", "data")
    for name, rule in (("train.txt", "corpus"), ("my.vec", "vectors")):
        content = (mine / name).read_text()
        (mine / name).write_text(content.replace("cat", "dog").replace("word1 ", "verb1 "))
        assert set(planned(project, "data")) == {rule, "data"}
        assert "mine" in run(project, "dvc", "status", "data")
        run(project, "dvc", "repro", "data")
        assert planned(project, "data") == {}


def test_killed_and_continued_through_dvc(project):
    """kill -9 of DVC, Snakemake and the jobs, in training; then the same command."""
    edit(project / CONFIG, "decay: 0.5\n    epochs: 2", "decay: 0.5\n    epochs: 30")
    with (project / CONFIG).open("a", encoding="utf-8") as stream:
        stream.write("compute: {checkpoint_seconds: 0.1}\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "baselines"], cwd=project, env=variables(),
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    scratch = project / "runs/tiny/scratch"
    eventually(lambda: any(scratch.glob("[!.]*.safetensors")))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    run(project, "dvc", "repro", "baselines")
    status = json.loads(run(project, "dvc", "status", "--json", "data", "baselines"))
    assert status == {}
    log = project / "runs/tiny/baseline/small/seed1/log.txt"
    assert "continuing from a checkpoint" in log.read_text(encoding="utf-8")
    killed = (project / "runs/tiny/baseline/small/seed1/model.safetensors").read_bytes()
    shutil.rmtree(project / "runs/tiny/baseline")
    succeed(project, "baselines")
    assert (project / "runs/tiny/baseline/small/seed1/model.safetensors").read_bytes() == killed
