"""The same workflow through DVC: the two engines agree, whoever moved the files."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from project_copy import (
    CONFIG,
    ROOT,
    commit,
    copy_project,
    edit,
    eventually,
    in_a_terminal,
    jobs_in,
    model,
    planned,
    prepare,
    results,
    run,
    succeed,
    up_to_date,
    variables,
)

pytestmark = pytest.mark.slow

REPRODUCE = ROOT / "docs/reproduce.md"
TABLE2 = "table2: {extends: linear, K: 3}"
OTHER_TABLE2 = "table2: {extends: linear, K: 2}"


def table2_rows(project: Path) -> int:
    return len((project / "results/tiny/table2.csv").read_text().splitlines())


@pytest.fixture(scope="module")
def both(finished, tmp_path_factory) -> Path:
    """A project with two settings of Table 2 run and committed: the tags A and, checked out, B."""
    project = prepare(tmp_path_factory.mktemp("dvc") / "project")
    for folder in ("runs", "results"):
        shutil.copytree(finished / folder, project / folder)
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


def test_dvc_adds_nothing_to_what_git_ignores(both):
    """The root's .gitignore has all that DVC tracks, so DVC writes none beside it."""
    found = {path.relative_to(both).as_posix() for path in both.rglob(".gitignore")}
    assert found == {".gitignore", ".dvc/.gitignore"}
    for name in found:
        assert (both / name).read_bytes() == (ROOT / name).read_bytes()


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
    assert planned(project)["table2"] == 1
    succeed(project, "all")
    assert results(project)["table2.csv"] == of_b


def test_code_changed_and_old_files_checked_out(project):
    """DVC must not stamp the new code's hash on what the old code made."""
    old = results(project)["table2.md"]
    edit(project / "kdlab/table2.py", "Table 2.", "Table 2:")
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
    assert planned(project)["table2"] == 1


def test_no_setting_is_invisible_to_a_stage(project):
    """A key that a stage does not declare would leave stale files."""
    edit(project / CONFIG, "spread: 0.1", "spread: 0.2")
    status = json.loads(run(project, "dvc", "status", "--json"))
    assert set(status) == {"text", "models", "vectors", "codes", "retrained", "results"}


def test_a_fresh_clone_pulls_and_has_nothing_to_do(project, tmp_path):
    """Once there is a remote, as the page says, with a folder in place of a bucket."""
    _, _, section = REPRODUCE.read_text("utf-8").partition("A fresh clone has nothing to pull")
    told = section.split("```")[1].replace("s3://bucket/kd", str(tmp_path / "store"))
    for line in told.strip().splitlines():
        run(project, *shlex.split(line, comments=True))
    commit(project, "with-remote")
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
    [(CONFIG, OTHER_TABLE2, TABLE2), ("kdlab/table2.py", "Table 2.", "Table 2:")],
)
def test_an_edit_that_keeps_its_old_time_is_seen_by_both(project, path, old, new):
    times = (project / path).stat()
    edit(project / path, old, new)
    os.utime(project / path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert planned(project)["table2"] == 1
    assert "results" in run(project, "dvc", "status")


def test_a_seed_more_costs_one_seed(project):
    row = "      - conventional\n"
    edit(project / CONFIG, row, "      - {method: conventional, seeds: 2}\n")
    found = planned(project)
    assert found["train_model"] == 2 and not {"retrain_model", "make_codes"} & set(found)
    weights = [model(project, "small", "conventional", s).path("model.safetensors") for s in (1, 2)]
    before = (project / weights[0]).stat().st_mtime_ns
    run(project, "dvc", "repro", "models")
    assert (project / weights[0]).stat().st_mtime_ns == before
    assert (project / weights[1]).exists()
    edit(project / CONFIG, "      - {method: conventional, seeds: 2}\n", row)
    run(project, "dvc", "repro")
    up_to_date(project)


def test_a_changed_byte_of_the_text_is_noticed(project):
    path = next(project.glob("runs/texts/*/corpus.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    assert re.search(r"modified: +runs/texts", run(project, "dvc", "status", "text"))


def test_nothing_is_sent_anywhere(project):
    assert run(project, "dvc", "config", "core.analytics").strip() == "false"
    assert run(project, "dvc", "config", "core.check_update").strip() == "false"


def shown(project: Path, *options: str) -> dict[str, dict[str, str]]:
    """The rows of `dvc exp show`, by experiment."""
    text = run(project, "dvc", "exp", "show", "--csv", *options)
    table = csv.DictReader(io.StringIO(text[text.index("Experiment,") :]))
    return {row["Experiment"] or row["rev"]: row for row in table}


def test_experiments_show_perplexity_size_and_rate_side_by_side(project):
    other = {
        "narrow": ("codes.linear.K=3",),
        "long": ("codes.linear.D=3", "models.small.epochs=3"),
    }
    for name, settings in other.items():
        run(project, "git", "checkout", "-q", "-f", "B")
        words = [word for s in settings for word in ("-S", f"{CONFIG}:{s}")]
        assert name in run(project, "dvc", "exp", "run", "-n", name, *words)
        up_to_date(project)
    found = shown(project)
    before = found["B"] if "B" in found else found["workspace"]
    row = next(c for c in before if c.endswith("small.linear-linear.test_ppl"))
    conventional_row = row.replace("linear-linear", "conventional")
    for name in other:
        for column in ("test_ppl", "size", "rate"):
            key = row.replace("test_ppl", column)
            assert float(found[name][key]) != float(before[key])
    assert found["narrow"][conventional_row] == before[conventional_row]
    assert found["long"][conventional_row] != before[conventional_row]
    about = {"Experiment", "rev", "typ", "Created", "parent", "State", "Executor", "preset", "own"}
    # DVC shows hashes of what stages depend on as well.
    measures = {n for n in before if n not in about and not (project / n).exists()}
    assert measures and all(re.search(r"\.(test_ppl|valid_ppl|size|rate)$", n) for n in measures)
    # As the page on reproducing says.
    (options,) = re.findall("^dvc exp show (--only.*?) +#", REPRODUCE.read_text("utf-8"), re.M)
    narrow = shown(project, *shlex.split(options))["narrow"]
    assert row in narrow and conventional_row in narrow
    assert narrow.keys() - about <= measures
    run(project, "dvc", "plots", "show", "-o", "shown")
    page = (project / "shown/index.html").read_text(encoding="utf-8")
    assert len(re.findall("<img", page)) == 3
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page)


def test_an_experiment_with_another_preset(project):
    shutil.copy2(project / CONFIG, project / "config/other.yaml")
    commit(project, "two-presets")
    # As `make demo` hides its results from git, which an experiment keeps.
    (project / "results/other").mkdir()
    (project / "results/other/.gitignore").write_text("*\n")
    run(project, "dvc", "exp", "run", "-n", "second", "--set-param", "preset=other")
    refs = run(project, "git", "for-each-ref", "--format=%(refname)", "refs/exps")
    (kept,) = (ref for ref in refs.split() if ref.endswith("/second"))
    assert "results/other/metrics.json" in run(project, "git", "ls-tree", "-r", kept)
    tables = [project / f"results/{name}/table1.csv" for name in ("tiny", "other")]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    up_to_date(project)


def test_a_preset_of_word_vectors_alone(tmp_path):
    project = prepare(tmp_path / "project", "words")
    (project / "my.vec").write_text("".join(f"word{i} {i} {i % 3}\n" for i in range(30)))
    (project / "config/words.yaml").write_text(
        "reconstructions: {mine: {title: Mine, vectors: {kind: file, path: my.vec}, ratios: [3],"
        " forms: [rounding]}}\nfigures: [reconstruction]\n"
    )
    edit(project / "params.yaml", "own: config/paper_numbers.yaml", "own: my.vec")
    run(project, "dvc", "repro")
    assert "up to date" in run(project, "dvc", "status")
    assert planned(project, preset="words") == {}


def test_files_of_ones_own_are_seen_by_both(tmp_path):
    project = prepare(tmp_path / "project")
    mine = project / "mine"
    mine.mkdir()
    for name in ("train.txt", "valid.txt", "test.txt"):
        (mine / name).write_text("the cat sat on the mat\n" * 50)
    (mine / "my.vec").write_text("".join(f"word{i} {i} {i % 3}\n" for i in range(30)))
    generated = "{kind: generated, training_tokens: 2000, seed: 1}"
    edit(project / CONFIG, generated, "{kind: folder, folder: mine}")
    edit(
        project / CONFIG, "{kind: model, model: small, seed: 1}", "{kind: file, path: mine/my.vec}"
    )
    refused = run(project, "dvc", "repro", "text", fails=True)
    assert "mine/train.txt: DVC would not see it change" in refused

    edit(project / "params.yaml", "own: config/paper_numbers.yaml", "own: mine")
    run(project, "dvc", "repro", "text")
    assert "up to date" in run(project, "dvc", "status", "text")
    for name, rule in (("train.txt", "read_text"), ("my.vec", "read_vectors")):
        content = (mine / name).read_text()
        (mine / name).write_text(content.replace("cat", "dog").replace("word1 ", "verb1 "))
        assert set(planned(project, "data")) == {rule, "data"}
        assert "mine" in run(project, "dvc", "status", "text")
        run(project, "dvc", "repro", "text")
        assert planned(project, "data") == {}


def test_killed_and_continued_through_dvc(project):
    """kill -9 of DVC, Snakemake and the jobs, in training; then the same command."""
    edit(project / CONFIG, "epochs: 2\n", "epochs: 30\n")
    edit(project / CONFIG, "text: {", "compute: {checkpoint_seconds: 0.1}\ntext: {")
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "models"], cwd=project, env=variables(project),
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    eventually(lambda: any((project / "runs/scratch").glob("[!.]*.safetensors")))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    run(project, "dvc", "repro", "models")
    assert json.loads(run(project, "dvc", "status", "--json", "text", "models")) == {}
    # Whichever of the models that train side by side had got as far as a checkpoint.
    logs = (project / "runs/models").glob("*/log.txt")
    continued = [log for log in logs if "continuing from a checkpoint" in log.read_text("utf-8")]
    assert continued
    folder = continued[0].parent
    killed = (folder / "model.safetensors").read_bytes()
    shutil.rmtree(folder)
    succeed(project, "models")
    assert (folder / "model.safetensors").read_bytes() == killed


def test_ctrl_c_through_dvc_says_that_the_same_command_continues(project):
    edit(project / CONFIG, "epochs: 2\n", "epochs: 20000\n")
    edit(project / CONFIG, "text: {", "compute: {checkpoint_seconds: 0.1}\ntext: {")
    words = [sys.executable, "-m", "dvc", "repro", "models"]
    code, output = in_a_terminal(project, words, ctrl_c=True)
    assert code != 0 and "Traceback" not in output
    ours, dvcs = [line for line in output.splitlines() if line][-2:]
    assert re.fullmatch(r"Stopped, \d of \d jobs done\. The same command continues\.", ours)
    assert dvcs.startswith("ERROR: failed to reproduce 'models'")
    assert not jobs_in(project)
    assert "models" in json.loads(run(project, "dvc", "status", "--json", "models"))
