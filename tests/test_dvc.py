"""The same workflow through DVC: the two engines agree, whoever moved the files."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from project_copy import (
    CONFIG,
    commit,
    copy_project,
    edit,
    planned,
    prepare,
    results,
    run,
    succeed,
    up_to_date,
)

pytestmark = pytest.mark.workflow

TABLE2 = "K: 3\n  D: 2\n  codes"
OTHER_TABLE2 = "K: 2\n  D: 2\n  codes"


def table2_rows(project: Path) -> int:
    return len((project / "results/tiny/table2.csv").read_text().splitlines())


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Path:
    """A project with two settings of Table 2 run and committed: the tags A and, checked out, B."""
    project = prepare(tmp_path_factory.mktemp("dvc") / "project")
    run(project, "dvc", "repro")
    commit(project, "A")
    edit(project / CONFIG, TABLE2, OTHER_TABLE2)
    run(project, "dvc", "repro")
    commit(project, "B")
    return project


@pytest.fixture
def project(both, tmp_path) -> Path:
    target = tmp_path / "project"
    shutil.copytree(both, target, symlinks=True)
    return target


def checkout(project: Path, tag: str) -> None:
    run(project, "git", "checkout", "-q", "-f", tag)
    run(project, "dvc", "checkout")


def test_dvc_repro_does_what_snakemake_does(both, tmp_path):
    assert "didn't change" in run(both, "dvc", "repro")
    up_to_date(both)
    alone = copy_project(tmp_path / "alone")
    edit(alone / CONFIG, TABLE2, OTHER_TABLE2)
    succeed(alone, "table2", "figure2")
    for name in ("table2.csv", "figure2.png"):
        assert results(alone)[name] == results(both)[name]


def test_back_and_forth_by_checkout(project):
    checkout(project, "A")
    up_to_date(project)
    before = table2_rows(project)
    checkout(project, "B")
    up_to_date(project)
    assert table2_rows(project) < before


def test_a_run_cache_does_not_fool_snakemake(project):
    """A, B, A by DVC, then B by Snakemake alone: the files there are those of A."""
    of_b = results(project)["table2.csv"]
    edit(project / CONFIG, OTHER_TABLE2, TABLE2)
    run(project, "dvc", "repro")
    assert results(project)["table2.csv"] != of_b
    up_to_date(project)
    edit(project / CONFIG, TABLE2, OTHER_TABLE2)
    assert planned(project)["table2_codes"] == 1
    succeed(project, "all")
    assert results(project)["table2.csv"] == of_b


def test_code_changed_and_old_files_checked_out(project):
    """DVC must not stamp the new code's hash on what the old code made."""
    old = results(project)["table2.md"]
    edit(project / "workflow/scripts/table2.py", "Table 2.", "Table 2:")
    run(project, "dvc", "checkout")
    run(project, "dvc", "repro")
    assert results(project)["table2.md"] != old
    up_to_date(project)


def test_hard_links_with_their_old_times(project):
    run(project, "dvc", "config", "cache.type", "hardlink,copy")
    run(project, "dvc", "checkout", "--relink")
    for tag in ("A", "B", "A"):
        run(project, "git", "checkout", "-q", "-f", tag)
        run(project, "dvc", "config", "cache.type", "hardlink,copy")
        run(project, "dvc", "checkout")
    assert planned(project) == {}
    edit(project / CONFIG, TABLE2, OTHER_TABLE2)
    assert planned(project)["table2_codes"] == 1


def test_no_setting_is_invisible_to_a_stage(project):
    """A key that a stage does not declare would leave stale files."""
    edit(project / CONFIG, "spread: 0.1", "spread: 0.2")
    status = json.loads(run(project, "dvc", "status", "--json"))
    assert set(status) == {"data", "baselines", "embeddings", "codes", "retrained", "report"}


def test_a_fresh_clone_pulls_and_has_nothing_to_do(project, tmp_path):
    run(project, "dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    commit(project, "with-remote")
    run(project, "dvc", "push")
    run(tmp_path, "git", "clone", "-q", "project", "clone")
    clone = tmp_path / "clone"
    run(clone, "dvc", "pull")
    assert results(clone) == results(project)
    up_to_date(clone)


def test_lost_results_come_back(project):
    before = results(project)
    shutil.rmtree(project / "results")
    assert "deleted" in run(project, "dvc", "status")
    run(project, "dvc", "repro")
    assert results(project) == before
    up_to_date(project)
    (project / "results/tiny/table2.csv").unlink()
    succeed(project, "all")
    assert results(project)["table2.csv"] == before["table2.csv"]


def test_touched_files_are_not_news(project):
    for path in [*project.glob("runs/**/*"), *project.glob("results/**/*"), project / CONFIG]:
        if path.is_file():
            path.touch()
    up_to_date(project)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        (CONFIG, OTHER_TABLE2, TABLE2),
        ("workflow/scripts/table2.py", "Table 2.", "Table 2:"),
    ],
)
def test_an_edit_that_keeps_its_old_time_is_seen_by_both(project, path, old, new):
    times = (project / path).stat()
    edit(project / path, old, new)
    os.utime(project / path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert planned(project)["table2"] == 1
    assert "report" in run(project, "dvc", "status")


def test_a_seed_more_costs_one_seed(project):
    row = "{codes: none, transform: none}"
    edit(project / CONFIG, row, "{codes: none, transform: none, seeds: 2}")
    found = planned(project)
    assert found["baseline"] == 2 and "retrain" not in found and "learned_codes" not in found
    seed1 = "runs/tiny/baseline/small/seed1/model.safetensors"
    before = (project / seed1).stat().st_mtime_ns
    run(project, "dvc", "repro", "baselines")
    assert (project / seed1).stat().st_mtime_ns == before
    assert (project / seed1.replace("seed1", "seed2")).exists()
    edit(project / CONFIG, "{codes: none, transform: none, seeds: 2}", row)
    run(project, "dvc", "repro")
    up_to_date(project)


def test_a_changed_byte_of_the_text_is_noticed(project):
    path = next(project.glob("data/tiny/corpus.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    assert re.search(r"modified: +data/tiny", run(project, "dvc", "status", "data"))


def test_embeddings_that_are_not_for_git_are_no_news(project):
    place = project / "results/tiny/measured/embedding/small/seed1"
    place.mkdir(parents=True)
    (place / "vectors.safetensors").write_bytes(bytes(100))
    assert "up to date" in run(project, "dvc", "status")


def test_nothing_is_sent_anywhere(project):
    assert run(project, "dvc", "config", "core.analytics").strip() == "false"
    assert run(project, "dvc", "config", "core.check_update").strip() == "false"
