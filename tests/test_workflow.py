"""The workflow as a user runs it, on the smallest preset, in a copy of the project."""

import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest
import torch
from project_copy import (
    BASELINE,
    ROOT,
    copy_project,
    edit,
    environment,
    eventually,
    planned,
    snakemake,
    start,
    succeed,
    unlock,
)

from kdcore.files import sha256
from kdcore.vectors import WordVectors
from kdlab.records import LOCKS
from kdlab.unlock import alive

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A project in which `all` has been run; tests work on copies of it."""
    project = copy_project(tmp_path_factory.mktemp("finished") / "project")
    succeed(project, "all")
    return project


@pytest.fixture
def project(finished, tmp_path) -> Path:
    target = tmp_path / "project"
    shutil.copytree(finished, target)
    return target


TABLES = {
    "table1.csv": "size,codes,transform,n_seeds,test_ppl_mean,test_ppl_std,valid_ppl_mean,"
    "embedding_params,rate,rate_with_codes,paper_ppl,paper_embedding_params,paper_rate",
    "figure3_clustering.csv": "arm,seed,iteration,temperature,loss,nmi,changed",
    "figure3_sweep.csv": "swept,K,D,codes,transform,seed,test_ppl",
    "table2.csv": "code,words",
    "claims.csv": "claim,paper,measured,holds,evidence",
}


def test_every_table_and_figure_is_there(finished):
    results = finished / "results" / "tiny"
    for name, header in TABLES.items():
        first, *rows = (results / name).read_text(encoding="utf-8").splitlines()
        assert first == header
        assert rows
    for name in ("figure2.png", "figure3.png", "curves.png"):
        assert (results / name).read_bytes().startswith(b"\x89PNG")
    for name in ("figure2.pdf", "figure3.pdf"):
        assert (results / name).read_bytes().startswith(b"%PDF")
    for name in ("table1.md", "table1.tex", "table2.md", "claims.md", "figure2.csv"):
        assert (results / name).stat().st_size > 100


def test_measurements_say_where_numbers_come_from(finished):
    measured = pd.read_csv(finished / "results/tiny/measurements.csv")
    assert len(measured) == 10  # six and two rows of Table 1, two more shapes of the sweep
    always = measured.drop(columns=["K", "D", "rate_with_codes", "unique_codes", "code_entropy",
                                    "commit"])  # fmt: skip
    assert always.notna().all().all()
    for name in ("data_hash", "config_hash", "code_hash", "seed", "device", "wall_seconds"):
        assert name in measured
    table = pd.read_csv(finished / "results/tiny/table1.csv")
    for _, row in table.iterrows():
        same = measured[(measured["codes"] == row["codes"]) & (measured["K"].fillna(4) == 4)
                        & (measured["transform"] == row["transform"])
                        & (measured["D"].fillna(2) == 2)
                        & (measured["size"] == row["size"])]  # fmt: skip
        assert len(same) == row["n_seeds"] == 1
        assert same["test_ppl"].mean() == pytest.approx(row["test_ppl_mean"], abs=1e-4)
    assert table["test_ppl_std"].isna().all()
    assert table["paper_ppl"].isna().all()


def test_the_report_needs_no_network(finished):
    page = (finished / "results/tiny/report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 7
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page)


def test_snakemakes_own_report_shows_every_result_with_its_caption(project):
    succeed(project, "all", "--report", "steps.html")
    page = (project / "steps.html").read_text(encoding="utf-8")
    shown = dict(re.findall(r'"results/tiny/([^"]+)": \{"name".*?"caption": "<p>([^"]+)</p>', page))
    captions = {path.stem: path for path in (project / "workflow/captions").glob("*.rst")}
    assert {Path(name).stem for name in shown} == captions.keys() - {"workflow", "ablations"}
    for name, caption in shown.items():
        first = captions[Path(name).stem].read_text(encoding="utf-8").splitlines()[0]
        assert caption.startswith(first)


def test_one_size_of_table_1_by_itself(project):
    succeed(project, "table1_small")
    whole = (project / "results/tiny/table1.csv").read_text(encoding="utf-8").splitlines()
    assert set(planned(project, "table1_small")) <= TABLES_ONLY | {
        "table1_small", "measurements_of_size", "column_of_table1",
    }  # fmt: skip
    alone = (project / "results/tiny/table1_small.csv").read_text(encoding="utf-8").splitlines()
    assert alone == [whole[0], *(row for row in whole if row.startswith("small,"))]


def test_a_figure_by_itself_trains_what_it_shows(tmp_path):
    found = planned(copy_project(tmp_path / "project"), "figure3")
    assert found["retrain"] == found["learned_codes"] == 3 and found["baseline"] == 1
    assert not {"random_codes", "table1", "measurements"} & set(found)


def test_ablations_alone_are_judged_on_validation_perplexity(tmp_path):
    project = copy_project(tmp_path / "project")
    shutil.copy2(ROOT / "tests" / "tiny_ablations.yaml", project / "config" / "tiny.yaml")
    succeed(project, "all")
    table = pd.read_csv(project / "results/tiny/ablations.csv")
    assert table["variant"].tolist() == ["plain", "dropped", "lstm"]
    assert table["size"].tolist() == ["small", "dropping", "small"]
    text = (project / "results/tiny/ablations.md").read_text(encoding="utf-8")
    assert "Models: small, 2 epochs; dropping, 2 epochs, 20 % of the words left out" in text
    assert table["valid_ppl"].notna().all() and "test_ppl" not in table
    assert planned(project) == {}
    # Another way to learn codes is another row, and nothing else is trained again.
    edit(project / "config/tiny.yaml", "unit: step", "unit: epoch")
    assert {k: planned(project).get(k) for k in ("ablated_codes", "ablation", "baseline")} == {
        "ablated_codes": 1, "ablation": 1, "baseline": None,
    }  # fmt: skip


def test_half_of_the_papers_tables_is_no_preset(tmp_path):
    project = copy_project(tmp_path / "project")
    text = (project / "config/tiny.yaml").read_text(encoding="utf-8")
    (project / "config/tiny.yaml").write_text(text.partition("table2:")[0])
    failed = snakemake(project, "-n", "all")
    assert failed.returncode != 0 and "table2 is missing" in failed.stdout + failed.stderr


def test_a_second_run_does_nothing(project):
    before = {p: p.stat().st_mtime_ns for p in project.rglob("*") if "results" in p.parts}
    assert "Nothing to be done" in succeed(project, "all")
    assert before == {p: p.stat().st_mtime_ns for p in before}


TABLES_ONLY = {
    "measurements", "measurements_of_sweep", "table1", "picture_of_table1", "curves", "figure3",
    "claims", "run_times", "report", "all",
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "old", "new", "rules"),
    [
        # A setting of one learner.
        ("config/tiny.yaml", "lstm: *learning", "lstm: {epochs: 4, batch: 50}",
         {"learned_codes": 1, "retrain": 1, "settings": 1}),
        # A setting of one row.
        ("config/tiny.yaml", "0.1, dropout: 0.2", "0.1, dropout: 0.1",
         {"retrain": 1, "settings": 1}),
        # One more K.
        ("config/tiny.yaml", "K: [2, 4]", "K: [2, 3, 4]",
         {"learned_codes": 1, "retrain": 1, "settings": 1}),
        # Code that only the clustering experiment uses.
        ("kdcore/synthetic.py", "n_init=10", "n_init=9", {"cluster": 2, "figure3_clustering": 1}),
        # Code of the transforms: codes and retraining, not the baseline.
        ("kdcore/transforms.py", "math.sqrt(3 / D)", "math.sqrt(2 / D)",
         {"learned_codes": 6, "table2_codes": 1, "retrain": 8, "cluster": 2}),
    ],
)  # fmt: skip
def test_a_change_reruns_what_depends_on_it(project, path, old, new, rules):
    edit(project / path, old, new)
    found = planned(project)
    assert {name: found.get(name) for name in rules} == rules
    # Beside these, only tables and figures.
    others = set(found) - set(rules) - TABLES_ONLY
    assert others <= (
        {"table2", "figure1", "code_space", "figure3_clustering"} if "cluster" in rules else set()
    )


def test_a_docstring_or_comment_reruns_nothing(project):
    edit(project / "kdcore/softmax.py", '"""The output layer', '"""Of the output layer')
    edit(project / "kdcore/transforms.py", "# Gates in", "# All gates in")
    assert planned(project) == {}


def test_where_data_and_computing_are_does_not_matter(project):
    change = "preset: tiny\ndata_mirror: /tmp\ncompute: {checkpoint_seconds: 7.0, threads: 1}"
    edit(project / "config/tiny.yaml", "preset: tiny", change)
    assert planned(project) == {}


def test_partial_without_the_embedding_of_table_2_says_so(tmp_path):
    project = copy_project(tmp_path / "project")
    failed = snakemake(project, "all", "--config", "partial=true")
    assert failed.returncode != 0 and not (project / "results").exists()
    said = failed.stdout + failed.stderr
    assert "partial: Table 2 needs runs/tiny/embedding/small/seed1/vectors.safetensors" in said
    assert "Traceback" not in said


def test_results_that_came_with_a_clone_are_made_again(project, tmp_path):
    """Git has results/ and neither runs/ nor Snakemake's records, and its files are new."""
    clone = copy_project(tmp_path / "clone")
    shutil.copytree(project / "results", clone / "results")
    found = planned(clone)
    assert found["cluster"] == 2
    assert {"settings", "baseline", "table1", "table2", "figure2", "claims"} <= set(found)


def test_partial_shows_what_is_there_and_leaves_the_rest_empty(tmp_path):
    project = copy_project(tmp_path / "project")
    succeed(project, BASELINE)
    succeed(project, "all", "--config", "partial=true")
    table = pd.read_csv(project / "results/tiny/table1.csv")
    assert table["test_ppl_mean"].notna().tolist() == [True] + 7 * [False]
    assert table["n_seeds"].tolist() == [1] + 7 * [0]
    claims = pd.read_csv(project / "results/tiny/claims.csv", dtype={"holds": object})
    open_claims = claims[claims["holds"].isna()]
    assert len(open_claims) and open_claims["evidence"].str.startswith("not run").all()
    assert open_claims["measured"].isna().all()
    # Running the rest afterwards fills the cells.
    assert planned(project)["retrain"] == 8

    # Elsewhere, what was published takes the place of a run.
    script = project / "workflow/scripts/publish.py"
    arguments = [sys.executable, script, "--config", "config/tiny.yaml"]
    subprocess.run(arguments, cwd=project, check=True)
    other = copy_project(tmp_path / "other")
    measured = Path("results/tiny/measured")
    shutil.copytree(project / measured, other / measured)
    succeed(other, "table1", "--config", "partial=true")
    table1 = Path("results/tiny/table1.csv")
    assert (other / table1).read_bytes() == (project / table1).read_bytes()
    assert not any((other / "runs/tiny/baseline").rglob("model.safetensors"))

    # A run of before, with other settings, does not hide it.
    stale = json.loads((project / BASELINE).read_text(encoding="utf-8"))
    stale["settings"]["epochs"] = 1
    (other / BASELINE).parent.mkdir(parents=True)
    (other / BASELINE).write_text(json.dumps(stale), encoding="utf-8")
    succeed(other, "table1", "--config", "partial=true")
    assert (other / table1).read_bytes() == (project / table1).read_bytes()
    (other / BASELINE).unlink()

    # What was measured with other settings is neither shown nor trained again.
    edit(other / "config/tiny.yaml", "clip: 5.0", "clip: 4.0")
    told = succeed(other, "table1", "--config", "partial=true")
    assert "left out, measured with other settings" in told and "clip 5.0, not 4.0" in told
    table = pd.read_csv(other / table1)
    assert table["test_ppl_mean"].isna().all() and table["n_seeds"].eq(0).all()


def test_codes_and_embedding_are_published_with_what_was_trained_on_them(project, tmp_path):
    script = project / "workflow/scripts/publish.py"
    arguments = [sys.executable, script, "--config", "config/tiny.yaml"]
    subprocess.run(arguments, cwd=project, check=True)
    runs, measured = project / "runs/tiny", project / "results/tiny/measured"
    codes = Path("codes/small/linear/K4_D2/seed1/codes.safetensors")
    assert (measured / codes).read_bytes() == (runs / codes).read_bytes()
    vectors = Path("embedding/small/seed1/vectors.safetensors")
    half, full = WordVectors.load(measured / vectors), WordVectors.load(runs / vectors)
    assert half.words == full.words
    torch.testing.assert_close(half.vectors, full.vectors, rtol=1e-3, atol=1e-6)
    sizes = [(folder / vectors).stat().st_size for folder in (measured, runs)]
    assert sizes[1] - sizes[0] == 2 * full.vectors.numel()

    # Elsewhere, the time that code learning took is among the run times, and Table 2 is made of
    # the embedding.
    other = copy_project(tmp_path / "other")
    shutil.copytree(measured, other / "results/tiny/measured")
    times, table2 = Path("results/tiny/run_times.csv"), Path("results/tiny/table2.csv")
    succeed(other, str(times), str(table2), "--config", "partial=true")
    assert pd.read_csv(other / table2)["words"].str.split().str.len().sum() == len(full.words)
    jobs = pd.read_csv(other / times)
    jobs = jobs[jobs["size"] == "small"].set_index("job")
    assert jobs.loc["linear codes", "seconds"] > 0
    assert jobs.loc["Linear + Linear", "after"] == "linear codes"

    # Codes that came later are not those of the model.
    (measured / codes).unlink()
    shutil.copy2(runs / "codes/small/random/K4_D2/seed1/codes.safetensors", runs / codes)
    told = subprocess.run(arguments, cwd=project, check=True, capture_output=True, text=True)
    assert "was trained on other codes" in told.stdout + told.stderr
    assert not (measured / codes).exists()


def test_a_record_cut_off_by_a_kill_stops_nothing(project):
    # Snakemake's name of the record: the output's path in base 64.
    output = "runs/tiny/clustering/seed1.csv"
    record = project / ".snakemake/metadata" / urlsafe_b64encode(output.encode()).decode()
    record.write_text(record.read_text(encoding="utf-8")[:40], encoding="utf-8")
    log = succeed(project, "--force", "results/tiny/figure2.csv")
    assert "figure2" in log
    assert planned(project) == {}


def test_killed_in_training_and_continued_by_the_same_command(finished, tmp_path):
    project = copy_project(tmp_path / "project")
    succeed(project, "data")
    slow = {"epochs: 2": "epochs: 60"}
    for target in (project, whole := copy_project(tmp_path / "whole")):
        for old, new in slow.items():
            edit(target / "config/tiny.yaml", old, new)
        with (target / "config/tiny.yaml").open("a", encoding="utf-8") as stream:
            stream.write("compute: {checkpoint_seconds: 0.1}\n")
    succeed(whole, BASELINE)

    scratch = project / "runs/tiny/scratch"
    process = start(project)
    eventually(lambda: any(scratch.glob("[!.]*.safetensors")))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert any(scratch.glob("[!.]*.safetensors"))
    assert not (project / BASELINE).exists()

    refused = snakemake(project, BASELINE)
    assert refused.returncode != 0 and "lock" in refused.stdout + refused.stderr
    assert unlock(project).returncode == 0
    assert "continuing from a checkpoint" in succeed(project, BASELINE)
    folder = Path(BASELINE).parent
    for name in ("model.safetensors", "curve.csv"):
        assert (project / folder / name).read_bytes() == (whole / folder / name).read_bytes()
    assert not any(scratch.glob("[!.]*.safetensors"))


def test_told_to_stop_in_code_learning_and_continued_by_the_same_command(project, tmp_path):
    """As `make slice` does when the time is up: SIGTERM to Snakemake and to what it runs."""
    codes = Path("runs/tiny/codes/small/linear/K4_D2/seed1")
    config = project / "config/tiny.yaml"
    edit(config, "&learning {epochs: 3", "&learning {epochs: 1500")
    with config.open("a", encoding="utf-8") as stream:
        stream.write("compute: {checkpoint_seconds: 0.1}\n")
    whole = tmp_path / "whole"
    shutil.copytree(project, whole)
    succeed(whole, f"{codes}/codes.safetensors")

    scratch = project / "runs/tiny/scratch"
    process = start(project, f"{codes}/codes.safetensors")
    eventually(lambda: any(scratch.glob("[!.]*.safetensors")))
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait() != 0
    assert any(scratch.glob("[!.]*.safetensors"))
    assert not (project / codes / "codes.safetensors").exists()
    assert "continuing from a checkpoint" in succeed(project, f"{codes}/codes.safetensors")
    for name in ("codes.safetensors", "decoder.safetensors", "history.csv"):
        assert (project / codes / name).read_bytes() == (whole / codes / name).read_bytes()
    assert not any(scratch.glob("[!.]*.safetensors"))


@pytest.mark.parametrize(("minutes", "says"), [("9", ""), ("0.2", "The time is up")])
def test_a_slice_ends_by_ctrl_c_or_when_its_time_is_up(tmp_path, minutes, says):
    project = copy_project(tmp_path / "project")
    edit(project / "config/tiny.yaml", "epochs: 2", "epochs: 20000")
    with (project / "config/tiny.yaml").open("a", encoding="utf-8") as stream:
        stream.write("compute: {checkpoint_seconds: 0.1}\n")
    shutil.copy2(ROOT / "Makefile", project)
    for name in ("requirements.lock", ".venv/bin/activate", ".venv/.ready"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    process = subprocess.Popen(
        ["make", "slice", f"MINUTES={minutes}", "CONFIG=config/tiny.yaml", "TARGET=baselines"],
        cwd=project, env=environment(), start_new_session=True, stdout=subprocess.PIPE, text=True,
        # Ignored in what runs in the background, and then in all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    if not says:
        eventually(lambda: any((project / "runs/tiny/scratch").glob("[!.]*.safetensors")))
        # What a terminal does: all that is in the foreground is told.
        os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert (process.returncode == 0) == bool(says) and says in output
    assert not jobs_in(project)


def tree(project: Path) -> dict[str, str]:
    """Hashes of all files but Snakemake's own logs."""
    return {
        str(path.relative_to(project)): sha256(path)
        for path in project.rglob("*")
        if path.is_file() and ".snakemake/log/" not in str(path)
    }


def test_two_runs_at_once_are_kept_apart(project):
    edit(project / "config/tiny.yaml", "epochs: 2", "epochs: 2000")
    first = start(project)
    try:
        eventually(lambda: jobs_in(project))
        # Stopped, so that whatever changes is the second one's doing.
        os.killpg(first.pid, signal.SIGSTOP)
        assert (project / ".snakemake/host").read_text().strip() == platform.node()
        # A folder that looks exchanged is not for the second to settle.
        exchanged = project / "runs/tiny/clustering/records.json"
        exchanged.write_text(json.dumps({"records": {"runs/tiny/clustering/seed1.csv": {}}}))
        before = tree(project)
        refused = snakemake(project, BASELINE)
        told = refused.stdout + refused.stderr
        assert refused.returncode != 0 and "Directory cannot be locked" in told, told
        refused = unlock(project)
        assert refused.returncode != 0 and "already going on" in refused.stderr
        assert tree(project) == before
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


def test_a_run_on_another_machine_keeps_its_lock(tmp_path):
    locks = tmp_path / ".snakemake/locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("model\n")
    (tmp_path / ".snakemake/host").write_text("login2.elsewhere\n")
    refused = subprocess.run(
        [sys.executable, "-m", "kdlab.unlock"], cwd=tmp_path, capture_output=True, text=True,
        env={**environment(), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert refused.returncode != 0 and "a run on login2.elsewhere holds" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert any(locks.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  K: 4", "  K: 1", "configuration: table1.K: Input should be greater than or equal"),
        ("preset: tiny", "preset: tiny\ncolour: red", "configuration: colour: Extra inputs"),
        ("clip: 5.0", "clip: 1e-3", "YAML reads 1e-3 as text"),
    ],
)
def test_a_wrong_configuration_stops_before_any_work(tmp_path, old, new, message):
    project = copy_project(tmp_path / "project")
    edit(project / "config/tiny.yaml", old, new)
    failed = snakemake(project, "all")
    output = failed.stdout + failed.stderr
    assert failed.returncode != 0 and message in output
    assert "Traceback" not in output
    assert not (project / "runs").exists()


def test_where_models_are_trained_is_in_the_commands_and_reruns_nothing(project):
    edit(project / "config/tiny.yaml", "preset: tiny", "preset: tiny\ncompute: {device: auto}")
    assert planned(project) == {}
    forced = (BASELINE, "-n", "-p", "--forcerun", "baseline")
    assert "--device cpu --precision float32" in succeed(project, *forced)
    settings = ("runs/tiny/report/settings.json", "--forcerun", "settings")
    assert "are trained on the CPU: PyTorch sees no GPU" in succeed(project, *settings)
    edit(project / "config/tiny.yaml", "{device: auto}", "{device: cuda, bfloat16: [small]}")
    assert planned(project) == {}
    assert "--device cuda --precision bfloat16" in succeed(project, *forced)
    edit(project / "config/tiny.yaml", "bfloat16: [small]", "bfloat16: [large]")
    assert "--device cuda --precision float32" in succeed(project, *forced)


def test_a_cluster_is_told_which_device(tmp_path):
    project = copy_project(tmp_path / "project")
    edit(project / "config/tiny.yaml", "preset: tiny", "preset: tiny\ncompute: {device: auto}")
    cluster = ("--executor", "cluster-generic", "--cluster-generic-submit-cmd", "sh", "--jobs", "1")
    failed = snakemake(project, BASELINE, *cluster)
    assert failed.returncode != 0 and not (project / "data").exists()
    assert "for a cluster say cuda or cpu" in failed.stdout + failed.stderr


def test_the_three_sizes_of_table_1(tmp_path):
    project = copy_project(tmp_path / "project")
    edit(project / "config/tiny.yaml", "  large: *size", "  medium: *size\n  large: *size")
    edit(project / "config/tiny.yaml", "sizes: [small, dropping]", "sizes: [small, medium, large]")
    found = planned(project)
    assert found["baseline"] == found["embedding"] == 3
    assert found["retrain"] == 3 * 5 + 2  # and two more shapes of the sweep
    for size in ("small", "medium", "large"):
        found = planned(project, f"table1_{size}")
        assert found["baseline"] == 1 and found["retrain"] == 5
        assert set(planned(project, f"codes_{size}")) >= {"baseline", "learned_codes"}
        assert "retrain" not in planned(project, f"codes_{size}")


def test_the_model_whose_embedding_table_2_shows_is_among_the_baselines(tmp_path):
    project = copy_project(tmp_path / "project")
    edit(project / "config/tiny.yaml", "kind: baseline, size: small", "kind: baseline, size: large")
    assert planned(project, "baselines")["baseline"] == 3
    assert planned(project, "embeddings")["embedding"] == 3
    assert planned(project)["baseline"] == planned(project, "codes")["baseline"] == 3


def test_cuda_that_is_absent_stops_before_any_work(tmp_path):
    project = copy_project(tmp_path / "project")
    edit(project / "config/tiny.yaml", "preset: tiny", "preset: tiny\ncompute: {device: cuda}")
    failed = snakemake(project, "all")
    assert failed.returncode != 0
    assert "PyTorch sees no CUDA device; set cpu or auto" in failed.stdout + failed.stderr
    assert not (project / "data").exists()


def test_a_configuration_of_ones_own_is_not_mixed_with_the_papers(tmp_path):
    project = copy_project(tmp_path / "project")
    (project / "config/tiny.yaml").write_text("sizes: {small: {epochs: 2}}\n")
    failed = snakemake(project, "-n", "all")
    assert failed.returncode != 0
    assert "configuration: preset: Field required" in failed.stdout + failed.stderr


def test_a_job_that_outlived_its_run_keeps_the_lock(tmp_path):
    project = copy_project(tmp_path / "project")
    edit(project / "config/tiny.yaml", "epochs: 2", "epochs: 2000")
    process = start(project)
    try:
        eventually(lambda: jobs_in(project))
        process.kill()
        process.wait()
        assert jobs_in(project)
        refused = unlock(project)
        assert refused.returncode != 0 and "already going on" in refused.stderr
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def test_another_text_need_not_be_newer(tmp_path):
    project = copy_project(tmp_path / "project")
    edit(
        project / "config/tiny.yaml",
        "corpus: {kind: generated, tokens: 2000, seed: 1}", "corpus: {kind: text, folder: mytext}",
    )  # fmt: skip
    (project / "mytext").mkdir()
    for split in ("train", "valid", "test"):
        (project / f"mytext/{split}.txt").write_text("a b\n" * 20)
    succeed(project, "data")
    assert planned(project, "data") == {}
    (project / "mytext/train.txt").write_text("b c\n" * 20)
    os.utime(project / "mytext/train.txt", (0, 0))
    assert "corpus" in planned(project, "data")
    succeed(project, "data")
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
    for folder in ("data/mine", "data/tiny", "runs/tiny"):
        (project / folder).mkdir(parents=True)
    (project / "data/mine/train.txt").touch()
    shutil.copy2(ROOT / "Makefile", project)
    subprocess.run(["make", "distclean"], cwd=project, check=True, capture_output=True)
    left = {path.relative_to(project).as_posix() for path in (project / "data").iterdir()}
    assert "data/mine" in left and "data/tiny" not in left and not (project / "runs").exists()


def jobs_in(project: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()) == project and "train_baseline.py" in " ".join(
                process.cmdline()[:2]
            ):
                found.append(process)
    return found


def test_a_script_can_be_run_by_hand_and_fails_in_one_line(finished, tmp_path):
    script = finished / "workflow/scripts/random_codes.py"

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, script, *arguments], cwd=tmp_path, capture_output=True, text=True
        )

    corpus = str(next((finished / "data").rglob("corpus.safetensors")))
    done = run("--corpus", corpus, "--K", "4", "--D", "2", "--seed", "1", "--codes", "c")
    assert done.returncode == 0 and (tmp_path / "c").exists()
    bad = run("--corpus", corpus, "--K", "1", "--D", "2", "--seed", "1", "--codes", "d")
    assert bad.returncode == 1
    assert bad.stderr.strip().splitlines() == [
        "error: K = 1: a code position needs at least 2 values"
    ]
    assert not (tmp_path / "d").exists()
    absent = run("--corpus", "none", "--K", "4", "--D", "2", "--seed", "1", "--codes", "d")
    assert absent.stderr.strip() == "error: none: no such file"
    # A log that cannot be opened is one line; one on a full disk stops nothing.
    shape = ("--corpus", corpus, "--K", "4", "--D", "2", "--seed", "1", "--codes", "e")
    closed = run(*shape, "--log", "/proc/none/log")
    assert closed.returncode == 1 and closed.stderr.startswith("error: /proc/none: ")
    assert len(closed.stderr.splitlines()) == 1
    full = run(*shape, "--log", "/dev/full")
    assert full.returncode == 0 and "Traceback" not in full.stderr and (tmp_path / "e").exists()
