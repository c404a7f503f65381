"""A table that several jobs compress, as a user runs it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from project_copy import copy_project, environment, snakemake, succeed

from kdcore import KDError
from kdlab.compression import Compression

CONFIG = """\
table: vectors.npy
words: words.txt
ratio: 8
forms: [product]
seed: 3
blocks: 3
out: out/vectors.kd
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with a table of two blocks, one fewer than there are jobs."""
    folder = copy_project(tmp_path_factory.mktemp("compress") / "project")
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((60, 8))
    table = centres[rng.integers(60, size=17_000)] + 0.3 * rng.standard_normal((17_000, 8))
    np.save(folder / "vectors.npy", table.astype(np.float32))
    (folder / "words.txt").write_text("".join(f"w{i}\n" for i in range(len(table))))
    # Paths as a shell completes them.
    dotted = CONFIG.replace("vectors.npy", "./vectors.npy").replace("out/", "./out//")
    (folder / "config/compress.yaml").write_text(dotted)
    return folder


def jobs(project: Path) -> str:
    return succeed(project, preset="compress")


@pytest.mark.workflow
def test_jobs_make_what_the_command_makes_and_a_second_run_nothing(project):
    told = jobs(project)
    assert "[5/6] out/vectors.kd of all shares" in told
    # So Snakemake's complaints of a ./ or of a slash too many begin.
    assert "file path" not in told.lower()
    words = (
        "compress vectors.npy --words words.txt --ratio 8 --form product --seed 3 --out local.kd"
    )
    subprocess.run(
        [sys.executable, "-m", "kdcore", *words.split()], cwd=project, env=environment(project),
        check=True, capture_output=True,
    )  # fmt: skip
    made = project / "out/vectors.kd"
    assert made.read_bytes() == (project / "local.kd").read_bytes()
    assert "Nothing to be done" in jobs(project)
    # A part that was lost is made again, and nothing else.
    made.unlink()
    assert "2 jobs" in jobs(project)
    assert made.read_bytes() == (project / "local.kd").read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ratio: 8", "ratio: 0", "ratio must be above 0, got 0"),
        ("ratio: 8\n", "", "exactly one of ratio, bits_per_word, size must be given, got none"),
        ("ratio: 8", "ratio: 8\nsize: 100", "must be given, got ratio, size"),
        ("[product]", "[produkt]", "forms.0: form 'produkt' is unknown; did you mean 'product'?"),
        ("blocks: 3", "blocks: many", "blocks must be an integer, got 'many'"),
        ("blocks: 3", "block: 3", "key 'block' is unknown; did you mean 'blocks'"),
        ("out: out/vectors.kd", "", "out is missing"),
    ],
)
def test_a_wrong_setting_is_one_line(old, new, message):
    with pytest.raises(KDError) as refused:
        Compression.of(yaml.safe_load(CONFIG.replace(old, new)), "config/wrong.yaml")
    said = str(refused.value)
    assert said.startswith("config/wrong.yaml: ") and message in said and "\n" not in said


@pytest.mark.workflow
def test_the_home_and_a_leading_dot_are_taken_as_meant(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    values = {
        "table": "~/table.npz:words",
        "words": "./words.txt",
        "out": "./out//v.kd",
        "ratio": 8,
    }
    found = Compression.of({**values, "ratio": 8}, "mine.yaml")
    assert found.table == "/home/anna/table.npz:words"
    assert (found.words, found.out) == ("words.txt", "out/v.kd")


def test_a_table_that_is_not_there_stops_before_any_work(project):
    (project / "config/wrong.yaml").write_text(CONFIG.replace("vectors.npy", "no.npy"))
    done = snakemake(project, preset="wrong")
    said = [line for line in (done.stdout + done.stderr).splitlines() if "error: " in line]
    assert done.returncode != 0
    assert said == ["error: no.npy: no such file, which the configuration names"]
