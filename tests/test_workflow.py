"""The workflow as a user runs it, on the smallest preset, in a copy of the project."""

import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest
import torch
from project_copy import (
    CONFIG,
    ROOT,
    command,
    commit,
    conventional,
    copy_project,
    edit,
    environment,
    eventually,
    in_a_terminal,
    jobs_in,
    model,
    plan,
    planned,
    run,
    snakemake,
    start,
    succeed,
    unlock,
)

from kdcore.files import sha256
from kdcore.vectors import WordVectors
from kdlab.unlock import LOCKS, alive

TABLES = {
    "table1.csv": "model,method,label,n_seeds,test_ppl_mean,test_ppl_std,valid_ppl_mean,"
    "embedding_params,bits,rate,rate_with_codes,paper_ppl,paper_embedding_params,paper_rate,valid_ppl_first",
    "figure3_clustering.csv": "arm,seed,iteration,temperature,loss,nmi,changed",
    "figure3_sweep.csv": "swept,K,D,method,seed,test_ppl",
    "rank_sweep.csv": "swept,rank,method,seed,test_ppl",
    "table2.csv": "code,words",
    "claims.csv": "claim,paper,measured,holds,evidence",
}
# Rules that compute something; others draw and write, or are names of targets.
COMPUTING = {
    "read_text", "read_vectors", "train_model", "retrain_model", "make_codes", "cluster",
}  # fmt: skip
# What a run that was asked to stop says.
STOPPED = r"Stopped, \d of \d jobs done\. The same command continues\."


def computed(rules: dict[str, int]) -> dict[str, int]:
    """Those of planned rules that compute something."""
    return {name: n for name, n in rules.items() if name in COMPUTING}


def test_every_table_and_figure_is_there(finished):
    results = finished / "results" / "tiny"
    for name, header in TABLES.items():
        first, *rows = (results / name).read_text(encoding="utf-8").splitlines()
        assert first == header
        assert rows
    for name in plan(finished).preset.figures:
        assert (results / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (results / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    for name in ("table1.md", "table1.tex", "table2.md", "claims.md", "figure2.csv"):
        assert (results / name).stat().st_size > 100
    promised = {file for _, _, files in plan(finished).results() for file in files}
    assert {path.name for path in results.iterdir() if path.is_file()} <= promised


def test_without_a_target_all_is_made(tmp_path):
    """`snakemake -n`, as pages say it."""
    project = copy_project(tmp_path / "project")
    jobs = r"^[\w-]+ +\d+$"
    asked, default = (succeed(project, "-n", *target) for target in (["all"], []))
    assert re.findall(jobs, default, re.M) == re.findall(jobs, asked, re.M) != []


def test_measurements_say_where_numbers_come_from(finished):
    measured = pd.read_csv(finished / "results/tiny/measurements.csv")
    assert sorted(measured["address"]) == sorted(
        r.address for r in plan(finished).experiment.models()
    )
    always = [
        "address", "model", "method", "seed", "test_ppl", "bits", "device", "precision", "threads",
        "processor", "blas", "python", "torch", "commit", "data_hash", "wall_seconds",
    ]  # fmt: skip
    assert measured[always].notna().all().all()
    table = pd.read_csv(finished / "results/tiny/table1.csv")
    by_address = measured.set_index("address")
    for _, row in table.iterrows():
        run = model(finished, row["model"], row["method"])
        assert row["n_seeds"] == 1
        assert by_address.loc[run.address, "test_ppl"] == pytest.approx(
            row["test_ppl_mean"], abs=1e-4
        )
        assert by_address.loc[run.address, "bits"] == row["bits"]
    assert table["test_ppl_std"].isna().all()
    assert table["paper_ppl"].isna().all()


def test_a_measurement_carries_what_its_address_is_the_hash_of(finished):
    run = model(finished, "small", "lstm-lstm")
    measured = json.loads((finished / run.path("measurement.json")).read_text(encoding="utf-8"))
    assert measured["spec"] == run.identity and measured["address"] == run.address


def test_the_report_needs_no_network(finished):
    page = (finished / "results/tiny/report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(plan(finished).preset.figures)
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page)


def test_snakemakes_own_report_shows_every_result_with_its_caption(project):
    succeed(project, "all", "--report", "steps.html")
    page = (project / "steps.html").read_text(encoding="utf-8")
    shown = dict(re.findall(r'"results/tiny/([^"]+)": \{"name".*?"caption": "<p>([^"]+)</p>', page))
    preset = plan(project).preset
    figures = {f"{name}.png" for name in preset.figures}
    tables = {f"{name}.csv" for name in preset.tables}
    others = {"measurements.csv", "claims.csv", "table2.csv", "reconstruction.csv", "report.html"}
    assert shown.keys() == figures | tables | others
    assert all(caption.strip() for caption in shown.values())
    # Of many or large results it is an archive; neither needs a network.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    run(project, *command("all", "--report", "steps.zip"), **nowhere)
    with zipfile.ZipFile(project / "steps.zip") as archive:
        assert "steps/report.html" in archive.namelist()


def test_a_second_run_does_nothing(project):
    before = {p: p.stat().st_mtime_ns for p in project.rglob("*") if "results" in p.parts}
    assert "Nothing to be done" in succeed(project, "all")
    assert before == {p: p.stat().st_mtime_ns for p in before}


@pytest.mark.parametrize("asked", [("-n", "all"), ("--lint",)], ids=["dry run", "lint"])
def test_a_dry_run_and_lint_write_nothing(tmp_path, asked):
    project = copy_project(tmp_path / "project")
    before = tree(project)
    succeed(project, *asked)
    after = tree(project).items()
    assert {name: h for name, h in after if not name.startswith(".snakemake/")} == before


@pytest.mark.parametrize(
    ("old", "new", "rules"),
    [
        # A setting of one learner: its codes, and what is retrained on them.
        ("lstm: {extends: linear, transform: {kind: lstm}}",
         "lstm: {extends: linear, epochs: 4, transform: {kind: lstm}}",
         {"make_codes": 1, "retrain_model": 1}),
        # A setting of one row.
        ("dropout: 0.2}\n  low-rank", "dropout: 0.1}\n  low-rank", {"retrain_model": 1}),
        # One more K: its codes are those of Table 2.
        ("codes.K: [2, 4]", "codes.K: [2, 3, 4]", {"retrain_model": 1}),
        # One more rank of an embedding without codes.
        ("embedding.rank: [1, 2]", "embedding.rank: [1, 2, 3]", {"train_model": 1}),
        # Another name, another order, another label.
        ("label: Low rank, embedding", "label: Rank, embedding", {}),
        # Where things are computed.
        ("text: {", "data_mirror: /tmp\ncompute: {checkpoint_seconds: 7.0, bfloat16: [large]}\n"
         "text: {", {}),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_a_change_computes_what_depends_on_it(project, old, new, rules):
    edit(project / CONFIG, old, new)
    assert computed(planned(project)) == rules


@pytest.mark.slow
def test_a_renamed_preset_computes_nothing_again(project):
    (project / CONFIG).rename(project / "config/renamed.yaml")
    assert computed(planned(project, preset="renamed")) == {}


@pytest.mark.slow
def test_an_edit_of_code_reruns_nothing_until_its_version_is_raised(project):
    learner = project / "kdcore/learners/straight_through.py"
    learner.write_text("# A remark.\n" + learner.read_text(encoding="utf-8"), encoding="utf-8")
    assert planned(project) == {}
    edit(learner, "NUMERICS = 1", "NUMERICS = 2")
    found = computed(planned(project))
    # The codes of the LSTM, the linear and the plain learner, two more shapes, the other model's,
    # Table 2's; codes refined from the plain ones; clustering.
    assert found["make_codes"] == 8 and found["cluster"] == 2 and "train_model" not in found
    assert found["retrain_model"] == 7


@pytest.mark.slow
def test_an_edit_of_a_figure_draws_it_again(project):
    figure = project / "kdlab/figures/figure2.py"
    figure.write_text("# A remark.\n" + figure.read_text(encoding="utf-8"), encoding="utf-8")
    assert set(planned(project)) == {"figure_figure2", "report", "all"}


@pytest.mark.slow
def test_results_that_came_with_a_clone_are_kept_or_made_again(project, tmp_path):
    """Git has results/ and measurements/, not runs/ nor Snakemake's records."""
    script = project / "workflow/scripts/publish.py"
    run_script(project, script, "--config", CONFIG)
    clone = copy_project(tmp_path / "clone")
    for folder in ("results", "measurements"):
        shutil.copytree(project / folder, clone / folder)
    # They are of the present settings: nothing is to be done.
    assert planned(clone) == {}
    # They are not: tables are drawn again, from what was published.
    edit(clone / CONFIG, "label: Low rank, embedding", "label: Rank, embedding")
    found = planned(clone)
    assert "table_table1" in found and "retrain_model" not in found


@pytest.mark.slow
def test_settings_beside_the_report_are_those_that_made_it(project):
    """A target alone, after a change of settings, leaves both."""
    results = project / "results/tiny"
    before = {name: (results / name).read_bytes() for name in ("settings.json", "report.html")}
    edit(project / CONFIG, "epochs: 2\n", "epochs: 9\n")
    told = succeed(project, "figure2")
    assert "[2/3] Figure: figure2" in told
    assert "results/tiny has results of other settings, those in its settings.json" in told
    for name, content in before.items():
        assert (results / name).read_bytes() == content
    assert json.loads(before["settings.json"])["models"]["small"]["epochs"] == 2


@pytest.mark.slow
def test_one_model_of_table_1_by_itself(project):
    whole = (project / "results/tiny/table1.csv").read_text(encoding="utf-8").splitlines()
    assert set(planned(project, "table1_small")) == {"table1_small", "table_table1_small"}
    succeed(project, "table1_small")
    alone = (project / "results/tiny/table1_small.csv").read_text(encoding="utf-8").splitlines()
    assert alone == [whole[0], *(row for row in whole if row.startswith("small,"))]


@pytest.mark.slow
def test_a_target_trains_what_it_shows(tmp_path):
    project = copy_project(tmp_path / "project")
    found = planned(project, "figure3")
    # Beside its own models it shows the conventional embedding, of table1.
    assert found["retrain_model"] == found["make_codes"] == 8
    assert found["train_model"] == found["cluster"] == 2
    assert not {"claims", "measurements", "figure_curves", "sweep_rank"} & set(found)
    assert computed(planned(project, "rank")) == {"read_text": 1, "train_model": 2}
    alone = computed(planned(project, "table1_large"))
    codes = {"read_text": 1, "train_model": 1, "read_vectors": 1, "make_codes": 1}
    assert alone == {**codes, "retrain_model": 1}
    assert computed(planned(project, "codes_large")) == codes
    assert computed(planned(project, "figure2")) == {}


def run_script(project: Path, script: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, script, *arguments], cwd=project, env=environment(project),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_partial_shows_what_is_there_and_leaves_the_rest_empty(tmp_path):
    project = copy_project(tmp_path / "project")
    succeed(project, conventional(project))
    succeed(project, "table1", "claims", "--config", "partial=true")
    table = pd.read_csv(project / "results/tiny/table1.csv")
    assert table["test_ppl_mean"].notna().tolist() == [True] + 7 * [False]
    assert table["n_seeds"].tolist() == [1] + 7 * [0]
    claims = pd.read_csv(project / "results/tiny/claims.csv", dtype={"holds": object})
    open_claims = claims[claims["holds"].isna()]
    assert len(open_claims) and open_claims["evidence"].str.startswith("not run").all()
    # Running the rest afterwards fills the cells.
    assert planned(project)["retrain_model"] == 8

    # Elsewhere, what was published takes the place of a run.
    run_script(project, project / "workflow/scripts/publish.py", "--config", CONFIG)
    other = copy_project(tmp_path / "other")
    shutil.copytree(project / "measurements", other / "measurements")
    succeed(other, "table1", "--config", "partial=true")
    table1 = Path("results/tiny/table1.csv")
    assert (other / table1).read_bytes() == (project / table1).read_bytes()
    assert not any((other / "runs").rglob("model.safetensors"))
    # Table 2 is of a model's vectors, which are not published.
    refused = snakemake(other, "-n", "table2", "--config", "partial=true")
    assert refused.returncode != 0
    assert "partial trains no model for vectors" in refused.stdout + refused.stderr

    # What was measured with other settings is neither shown nor trained.
    edit(other / CONFIG, "max_grad_norm: 5.0", "max_grad_norm: 4.0")
    succeed(other, "table1", "--config", "partial=true")
    table = pd.read_csv(other / table1)
    assert table["test_ppl_mean"].isna().all() and table["n_seeds"].eq(0).all()


@pytest.mark.slow
def test_word_vectors_of_a_distribution_need_no_text_and_no_model(tmp_path):
    project = copy_project(tmp_path / "project")
    words = tuple(f"w{i}" for i in range(60))
    # The project is on the path of its jobs, as a folder of installed distributions is.
    WordVectors(words, torch.randn(60, 8)).save(project / "words.safetensors")
    (project / "pairs.tsv").write_text("".join(f"w{i}\tw{i + 9}\t{i % 7}\n" for i in range(50)))
    about = project / "some_words-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: some-words\nVersion: 1.0\n")
    installed = {
        file: {
            "distribution": "some-words", "version": "1.0", "file": file,
            "sha256": sha256(project / file),
        }
        for file in ("words.safetensors", "pairs.tsv")
    }  # fmt: skip
    mine = {
        "title": "Mine", "ratios": [3], "forms": ["rounding", "low-rank"],
        "vectors": {"kind": "package", **installed["words.safetensors"]},
        "similarity": installed["pairs.tsv"],
    }  # fmt: skip
    preset = {"reconstructions": {"mine": mine}, "figures": ["reconstruction"]}
    (project / "config/words.yaml").write_text(json.dumps(preset))

    assert "not present in the Snakefile" not in succeed(project, "all", preset="words")
    assert "Nothing to be done" in succeed(project, "all", preset="words")
    results = project / "results/words"
    table = pd.read_csv(results / "reconstruction.csv")
    assert table["error"].between(0, 1).all() and (table["pairs"] == 50).all()
    page = (results / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 1 and "not run" not in page
    config = ("--config", "config/words.yaml")
    made = run_script(project, project / "workflow/scripts/plan.py", *config)
    assert "0 language models" in made and "to compress" not in made

    # What was published takes the place of runs; without it, all is left empty or computed.
    run_script(project, project / "workflow/scripts/publish.py", *config)
    other = copy_project(tmp_path / "other")
    (other / "config/words.yaml").write_text(json.dumps(preset))
    succeed(other, "all", "--config", "partial=true", preset="words")
    assert pd.read_csv(other / "results/words/reconstruction.csv")["error"].isna().all()
    assert planned(other, preset="words")["reconstruct"] == 2
    assert planned(other, "vectors", preset="words") == {"read_vectors": 1, "vectors": 1}
    shutil.copytree(project / "measurements", other / "measurements")
    assert "reconstruct" not in planned(other, preset="words")
    refused = snakemake(other, "all", "--config", "published=false", preset="words")
    assert refused.returncode != 0
    command = "some-words 1.0 must be installed: pip install --no-deps some-words==1.0"
    assert command in refused.stdout + refused.stderr


@pytest.mark.slow
def test_published_runs_can_be_computed_here(project, tmp_path):
    run_script(project, project / "workflow/scripts/publish.py", "--config", CONFIG)
    other = copy_project(tmp_path / "other")
    shutil.copytree(project / "measurements", other / "measurements")
    assert "retrain_model" not in planned(other, "table1")
    told = succeed(other, "-n", "table1", "--config", "published=false")
    assert "retrain_model" in told
    codes = model(project, "small", "linear-linear").inputs["codes"]
    published = project / "measurements" / codes.address / "codes.safetensors"
    assert published.read_bytes() == (project / codes.path("codes.safetensors")).read_bytes()


@pytest.mark.slow
def test_killed_in_training_and_continued_by_the_same_command(tmp_path):
    project, whole = copy_project(tmp_path / "project"), copy_project(tmp_path / "whole")
    for target in (project, whole):
        edit(target / CONFIG, "epochs: 2\n", "epochs: 60\n")
        edit(target / CONFIG, "text: {", "compute: {checkpoint_seconds: 0.1}\ntext: {")
    measurement = conventional(project)
    succeed(whole, measurement)

    scratch = project / "runs/scratch"
    process = start(project, measurement)
    eventually(lambda: any(scratch.glob("[!.]*.safetensors")))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert any(scratch.glob("[!.]*.safetensors"))
    assert not (project / measurement).exists()

    refused = snakemake(project, measurement)
    assert refused.returncode != 0 and "lock" in refused.stdout + refused.stderr
    assert unlock(project).returncode == 0
    assert "continuing from a checkpoint" in succeed(project, measurement)
    folder = Path(measurement).parent
    for name in ("model.safetensors", "curve.csv"):
        assert (project / folder / name).read_bytes() == (whole / folder / name).read_bytes()
    assert not any(scratch.glob("[!.]*.safetensors"))


@pytest.mark.slow
def test_asked_to_stop_in_code_learning_and_continued_by_the_same_command(project, tmp_path):
    """As `make slice` does when the time is up: SIGTERM to Snakemake and to what it runs."""
    edit(project / CONFIG, "epochs: 3\n", "epochs: 500\n")
    edit(project / CONFIG, "text: {", "compute: {checkpoint_seconds: 0.1}\ntext: {")
    whole = tmp_path / "whole"
    shutil.copytree(project, whole)
    folder = Path(model(project, "small", "linear-linear").inputs["codes"].folder)
    codes = f"{folder}/codes.safetensors"
    succeed(whole, codes)

    scratch = project / "runs/scratch"
    process = start(project, codes)
    eventually(lambda: any(scratch.glob("[!.]*.safetensors")))
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait() != 0
    assert any(scratch.glob("[!.]*.safetensors"))
    assert not (project / codes).exists()
    assert "continuing from a checkpoint" in succeed(project, codes)
    for name in ("codes.safetensors", "decoder.safetensors", "history.csv", "error.json"):
        assert (project / folder / name).read_bytes() == (whole / folder / name).read_bytes()
    assert not any(scratch.glob("[!.]*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("minutes", "ctrl_c", "says"),
    [
        ("9", True, STOPPED),
        ("0.3", False, r"The time is up: trainings have written checkpoints\."),
    ],
    ids=["Ctrl-C", "time"],
)
def test_a_slice_ends_by_ctrl_c_or_when_its_time_is_up(tmp_path, minutes, ctrl_c, says):
    project = copy_project(tmp_path / "project")
    edit(project / CONFIG, "epochs: 2\n", "epochs: 20000\n")
    edit(project / CONFIG, "text: {", "compute: {checkpoint_seconds: 0.1}\ntext: {")
    with_makefile(project)
    words = ["make", "slice", f"MINUTES={minutes}", f"CONFIG={CONFIG}", "TARGET=models"]
    code, output = in_a_terminal(project, words, ctrl_c)
    assert (code != 0) == ctrl_c
    # A line of its own: make prints the command, too.
    assert re.search(f"^{says}$", output, re.M)
    assert not jobs_in(project)


@pytest.mark.slow
def test_ctrl_c_says_that_the_same_command_continues(tmp_path):
    project = copy_project(tmp_path / "project")
    edit(project / CONFIG, "epochs: 2\n", "epochs: 20000\n")
    edit(project / CONFIG, "text: {", "compute: {checkpoint_seconds: 0.1}\ntext: {")
    code, output = in_a_terminal(project, command("models"), ctrl_c=True)
    assert code != 0
    assert re.fullmatch(STOPPED, output.splitlines()[-1])
    assert "WorkflowError" not in output and "Traceback" not in output
    assert max(map(len, output.splitlines())) < 120
    assert not jobs_in(project)
    assert not any((project / LOCKS).glob("*"))


def with_makefile(project: Path) -> None:
    """A Makefile, and an environment that it takes for made."""
    shutil.copy2(ROOT / "Makefile", project)
    # Made last: it must be the newest.
    for name in ("requirements.lock", "pyproject.toml", ".venv/bin/activate", ".venv/.ready"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()


def tree(project: Path) -> dict[str, str]:
    """Hashes of all files but Snakemake's own logs and compiled Python."""
    return {
        str(path.relative_to(project)): sha256(path)
        for path in project.rglob("*")
        if path.is_file() and ".snakemake/log/" not in str(path) and path.suffix != ".pyc"
    }


@pytest.mark.slow
def test_two_runs_at_once_are_kept_apart(project):
    edit(project / CONFIG, "epochs: 2\n", "epochs: 2000\n")
    measurement = conventional(project)
    first = start(project, measurement)
    try:
        eventually(lambda: jobs_in(project))
        # Stopped, so that whatever changes is the second one's doing.
        os.killpg(first.pid, signal.SIGSTOP)
        assert (project / ".snakemake/host").read_text().strip() == platform.node()
        before = tree(project)
        refused = snakemake(project, measurement)
        told = refused.stdout + refused.stderr
        assert refused.returncode != 0 and "Directory cannot be locked" in told, told
        refused = unlock(project)
        assert refused.returncode != 0 and "already going on" in refused.stderr
        assert tree(project) == before
        # What has been measured can be looked at all the same: `make collect`.
        beside = [sys.executable, "-m", "kdlab.unlock", "--beside"]
        assert run(project, *beside) == "--nolock\n"
        succeed(project, "table1", "figure2", "--nolock", "--config", "partial=true")
        assert "not run" in (project / "results/tiny/table1.md").read_text(encoding="utf-8")
        assert any((project / LOCKS).iterdir())
        assert (project / ".snakemake/host").read_text().strip() == platform.node()
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


def test_a_second_run_of_any_preset_is_told_what_to_do(tmp_path):
    """`make demo` while something else of the pipeline runs in the folder."""
    project = copy_project(tmp_path / "project")
    with_makefile(project)
    lock = project / LOCKS / "0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("model\n")
    job = project / "workflow/scripts/job.py"
    job.write_text("import time\ntime.sleep(600)\n")
    with subprocess.Popen([sys.executable, job.relative_to(project)], cwd=project) as first:
        try:
            second = subprocess.run(
                ["make", "--silent", "demo"], cwd=project, env=environment(project),
                capture_output=True, text=True,
            )  # fmt: skip
        finally:
            first.kill()
    told = second.stderr.splitlines()[0]
    assert second.returncode != 0 and f"(process {first.pid}): wait for its end" in told
    assert "start this one in another clone" in told and lock.exists()


def test_the_demo_leaves_a_clean_tree(tmp_path):
    """`make demo` without what it runs: its results are hidden from git, others are not."""
    project = copy_project(tmp_path / "project")
    with_makefile(project)
    shutil.copy2(ROOT / ".gitignore", project)
    run(project, "git", "init", "-q")
    commit(project, "before")
    run(project, "make", "--silent", "demo", "RUN=true ||")
    for preset in ("demo", "mine"):
        (project / "results" / preset).mkdir(exist_ok=True)
        (project / "results" / preset / "report.html").touch()
    assert run(project, "git", "status", "--short", "-uall") == "?? results/mine/report.html\n"


def test_a_run_on_another_machine_keeps_its_lock(tmp_path):
    locks = tmp_path / ".snakemake/locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("model\n")
    (tmp_path / ".snakemake/host").write_text("login2.elsewhere\n")
    refused = subprocess.run(
        [sys.executable, "-m", "kdlab.unlock"], cwd=tmp_path, capture_output=True, text=True,
        env=environment(ROOT),
    )  # fmt: skip
    assert refused.returncode != 0 and "a run on login2.elsewhere holds" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert any(locks.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("random, K: 4", "random, K: 1", "codes.random.K must be at least 2, got 1"),
        ("text: {", "colour: red\ntext: {", "key 'colour' is unknown"),
    ],
)
def test_a_wrong_preset_stops_before_any_work(tmp_path, old, new, message):
    project = copy_project(tmp_path / "project")
    edit(project / CONFIG, old, new)
    failed = snakemake(project, "all")
    lines = [line for line in (failed.stdout + failed.stderr).splitlines() if "error" in line]
    assert failed.returncode != 0
    assert len(lines) == 1 and lines[0].startswith(f"error: {CONFIG}: ") and message in lines[0]
    assert not (project / "runs").exists()


def test_a_home_that_cannot_be_written(tmp_path):
    """What `make` appends to the environment's activate script."""
    project = copy_project(tmp_path / "project")
    variables = {**environment(project), "HOME": "/proc/self", "VIRTUAL_ENV": str(tmp_path)}
    variables.pop("XDG_CACHE_HOME", None)
    words = shlex.join([*command("figure2", "-n")])
    done = subprocess.run(
        ["sh", "-c", f". workflow/activate.sh && {words}"], cwd=project, env=variables,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cache/snakemake").is_dir()
    shown = subprocess.run(
        ["sh", "-c", ". workflow/activate.sh && echo $MPLCONFIGDIR"], cwd=project, env=variables,
        capture_output=True, text=True,
    )  # fmt: skip
    assert shown.stdout.strip() == str(tmp_path / "cache/matplotlib")
    home = {**variables, "HOME": str(tmp_path)}
    shown = subprocess.run(
        ["sh", "-c", ". workflow/activate.sh && echo $XDG_CACHE_HOME"], cwd=project, env=home,
        capture_output=True, text=True,
    )  # fmt: skip
    assert shown.stdout.strip() == ""


def test_numbers_of_the_command_line_are_numbers(tmp_path):
    project = copy_project(tmp_path / "project")
    found = []
    for values in ("3", "3, 5"):
        sweep = f"sweeps={{figure3: {{vary: {{codes.K: [{values}]}}}}}}"
        config = ("--config", "compute={threads: 2}", "models={small: {decay: 1/2}}", sweep)
        found.append(planned(project, "figure3", *config)["make_codes"])
    assert found[1] == found[0] + 1


def test_a_folder_that_cannot_be_written_is_one_line():
    script = ROOT / "workflow/activate.sh"
    for words in (f". {script} && snakemake -n", f"{sys.executable} -m kdlab.unlock"):
        # Nobody can write there, not even root.
        done = subprocess.run(["sh", "-c", words], cwd="/proc/self", capture_output=True, text=True)
        assert done.returncode != 0 and done.stderr.count("\n") == 1
        assert re.match(r"error: /proc/\S+ cannot be written", done.stderr), done.stderr


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("--configfile config/tiny.yaml", "a file"),
        ("--resources gpu=2", "NAME=VALUE"),
        ("--config partial=true", "NAME=VALUE"),
    ],
)
def test_a_target_among_the_words_of_an_option_is_one_line(tmp_path, options, wanted):
    """In the environment's own shell, whose activate script has this function."""
    project = copy_project(tmp_path / "project")

    def shell(words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["sh", "-c", f". workflow/activate.sh && snakemake --cores 1 {words}"], cwd=project,
            env=environment(project), capture_output=True, text=True,
        )  # fmt: skip

    refused, option = shell(f"{options} all"), options.split()[0]
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"error: {option}: all must be {wanted}; ")
    assert refused.stderr.endswith(f"snakemake {option} ... -- all\n")
    assert refused.stderr.count("\n") == 1 and not (project / ".snakemake").exists()
    asked = f"-n --configfile config/tiny.yaml {options} -- figure2"
    planned = shell(asked)
    assert planned.returncode == 0, planned.stderr
    assert "figure_figure2" in planned.stdout + planned.stderr


@pytest.mark.slow
def test_where_models_are_trained_is_in_the_commands(project):
    forced = (conventional(project), "-n", "-p", "--forcerun", "train_model")
    assert "--device cpu --precision float32" in succeed(project, *forced)
    edit(project / CONFIG, "text: {", "compute: {device: cuda, bfloat16: [small]}\ntext: {")
    assert planned(project) == {}
    assert "--device cuda --precision bfloat16" in succeed(project, *forced)
    edit(project / CONFIG, "bfloat16: [small]", "bfloat16: [large]")
    assert "--device cuda --precision float32" in succeed(project, *forced)


@pytest.mark.slow
def test_a_cluster_is_told_which_device(tmp_path):
    project = copy_project(tmp_path / "project")
    edit(project / CONFIG, "text: {", "compute: {device: auto}\ntext: {")
    cluster = ("--executor", "cluster-generic", "--cluster-generic-submit-cmd", "sh", "--jobs", "1")
    failed = snakemake(project, "data", *cluster)
    assert failed.returncode != 0 and not (project / "runs").exists()
    assert "for a cluster say cuda or cpu" in failed.stdout + failed.stderr


@pytest.mark.slow
def test_cuda_that_is_absent_stops_before_any_work(tmp_path):
    project = copy_project(tmp_path / "project")
    edit(project / CONFIG, "text: {", "compute: {device: cuda}\ntext: {")
    failed = snakemake(project, "all")
    assert failed.returncode != 0
    assert "PyTorch sees no CUDA device; set cpu or auto" in failed.stdout + failed.stderr
    assert not (project / "runs").exists()


@pytest.mark.slow
def test_a_job_that_outlived_its_run_keeps_the_lock(tmp_path):
    project = copy_project(tmp_path / "project")
    edit(project / CONFIG, "epochs: 2\n", "epochs: 2000\n")
    process = start(project, conventional(project))
    try:
        eventually(lambda: jobs_in(project))
        process.kill()
        process.wait()
        assert jobs_in(project)
        refused = unlock(project)
        assert refused.returncode != 0 and "already going on" in refused.stderr
    finally:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_another_text_need_not_be_newer(tmp_path):
    project = copy_project(tmp_path / "project")
    generated = "{kind: generated, training_tokens: 2000, seed: 1}"
    edit(project / CONFIG, generated, "{kind: folder, folder: ./mytext/}")
    (project / "mytext").mkdir()
    for split in ("train", "valid", "test"):
        (project / f"mytext/{split}.txt").write_text("a b\n" * 20)
    told = succeed(project, "data").lower()
    # So Snakemake's complaints of a ./ or of a slash too many begin.
    assert "file path" not in told and "warning" not in told
    assert planned(project, "data") == {}
    (project / "mytext/train.txt").write_text("b c\n" * 20)
    os.utime(project / "mytext/train.txt", (0, 0))
    assert "read_text" in planned(project, "data")
    (project / "mytext/train.txt").unlink()
    failed = snakemake(project, "data")
    assert failed.returncode != 0
    assert "mytext/train.txt: no such file" in failed.stdout + failed.stderr


def test_a_run_of_another_user_keeps_its_lock(tmp_path, monkeypatch):
    (tmp_path / LOCKS).mkdir(parents=True)
    lock = tmp_path / LOCKS / "0.input.lock"
    lock.touch()

    class Hidden:
        pid, owner = 7, lock.stat().st_uid

        def cmdline(self):
            return ["/usr/bin/python3.11", "/usr/bin/snakemake", "all"]

        def cwd(self):
            raise psutil.AccessDenied(self.pid)

        def uids(self):
            return SimpleNamespace(real=self.owner)

    process = Hidden()
    monkeypatch.setattr(psutil, "process_iter", lambda: [process])
    assert alive(tmp_path) == [7]
    process.owner += 1
    assert alive(tmp_path) == []


def test_make_distclean_leaves_texts_of_ones_own(tmp_path):
    project = copy_project(tmp_path / "project")
    for folder in ("data/mine", "data/ptb", "runs/models"):
        (project / folder).mkdir(parents=True)
    (project / "data/mine/train.txt").touch()
    shutil.copy2(ROOT / "Makefile", project)
    subprocess.run(["make", "distclean"], cwd=project, check=True, capture_output=True)
    left = {path.relative_to(project).as_posix() for path in (project / "data").iterdir()}
    assert "data/mine" in left and "data/ptb" not in left and not (project / "runs").exists()


def test_a_script_can_be_run_by_hand_and_fails_in_one_line(finished, tmp_path):
    script = ROOT / "workflow/scripts/codes.py"
    corpus = str(next((finished / "runs").rglob("corpus.safetensors")))

    def run(learner: dict, corpus: str, codes: str, *more: str) -> subprocess.CompletedProcess:
        settings = json.dumps({"learner": learner, "seed": 1})
        return subprocess.run(
            [sys.executable, script, "--settings", settings, "--address", "a", "--corpus", corpus,
             "--codes", codes, "--decoder", "d", "--history", "h", "--error", "r", "--scratch", "s",
             *more],
            cwd=tmp_path, env=environment(ROOT), capture_output=True, text=True,
        )  # fmt: skip

    good = {"kind": "random", "K": 4, "D": 2}
    done = run(good, corpus, "c")
    assert done.returncode == 0 and (tmp_path / "c").exists(), done.stderr
    bad = run({**good, "K": 1}, corpus, "e")
    assert bad.returncode == 1
    assert bad.stderr.strip() == "error: learner.K must be at least 2, got 1"
    assert not (tmp_path / "e").exists()
    absent = run(good, "none", "e")
    assert absent.stderr.strip() == "error: none: no such file"
    # A log that cannot be opened is one line; one on a full disk stops nothing.
    closed = run(good, corpus, "e", "--log", "/proc/none/log")
    assert closed.returncode == 1 and closed.stderr.startswith("error: /proc/none: ")
    assert len(closed.stderr.splitlines()) == 1
    full = run(good, corpus, "f", "--log", "/dev/full")
    assert full.returncode == 0 and "Traceback" not in full.stderr and (tmp_path / "f").exists()


@pytest.mark.slow
def test_a_job_killed_after_its_files_were_written_hides_nothing_that_is_missing(project):
    """`kill -9` between a job's last file and Snakemake's note that it has ended."""
    finished_run = model(project, "small", "conventional")
    for name in ("model.safetensors", "curve.csv", "measurement.json"):
        note = urlsafe_b64encode(finished_run.path(name).encode()).decode()
        path = project / ".snakemake/incomplete" / note
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    shutil.rmtree(project / "results")
    found = planned(project)
    assert {"report", "table_table1", "all"} <= set(found) and "retrain_model" not in found
