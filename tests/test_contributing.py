"""CONTRIBUTING.md is enough to add an embedding, a learner, a text, a figure, a model, methods.

Its code is written into a copy of the project as it stands on the page.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from project_copy import ROOT, copy_project, environment, planned, run, succeed

from kdlab.grammar import generate

pytestmark = [pytest.mark.slow, pytest.mark.workflow]

PAGE = ROOT / "CONTRIBUTING.md"
# A file's name at the end of a paragraph or in it, and the block that comes next.
BLOCK = re.compile(r"`([\w/]+\.(?:py|yaml))`[^`]*\n\n```(?:python|yaml)\n(.*?)```", re.S)
KINDS = {
    "kdcore/embeddings/scaled.py", "kdcore/learners/quantiles.py", "kdlab/texts/one_file.py",
    "kdlab/figures/bits.py",
}  # fmt: skip


def files() -> dict[str, str]:
    """The files of the page, by their place in the project."""
    return dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project with all that the page adds."""
    project = copy_project(tmp_path_factory.mktemp("contributing") / "project")
    for name, text in files().items():
        assert not (project / name).exists()
        (project / name).write_text(text, encoding="utf-8")
    # The demo takes minutes: the same on the smallest preset.
    (command,) = re.findall("^sed .*$", PAGE.read_text(encoding="utf-8"), re.M)
    run(project, "sh", "-c", command.replace("demo.yaml", "tiny.yaml"))
    corpus = generate(3000, seed=2)
    text = " ".join(corpus.words[i] for i in corpus.train).replace(" <eos> ", "\n")
    (project / "book.txt").write_text(text.removesuffix(" <eos>") + "\n", encoding="utf-8")
    return project


def test_the_page_has_a_file_of_each_kind_and_a_preset():
    page = PAGE.read_text(encoding="utf-8")
    assert set(files()) == KINDS | {"config/mine.yaml"}
    assert page.count("```python") == len(KINDS) and page.count("```yaml") == 1


def test_new_kinds_have_their_rows_and_figures_and_nothing_else_was_edited(project):
    succeed(project, "all", preset="mine")
    rows = pd.read_csv(project / "results/mine/table1.csv").set_index(["model", "method"])
    assert set(rows.index.unique("model")) == {"small", "wide"}
    for model, dim in (("small", 8), ("wide", 96)):
        for method in ("conventional", "linear-linear", "quantiles-linear", "scaled"):
            assert rows.loc[model, method].test_ppl_mean > 1
        table, scaled = rows.loc[model, "conventional"], rows.loc[model, "scaled"]
        words = table.embedding_params / dim
        assert scaled.embedding_params == words + 20 * dim
        assert scaled.bits == 32 * scaled.embedding_params
    for figure in ("table1", "bits"):
        assert (project / f"results/mine/{figure}.png").read_bytes().startswith(b"\x89PNG")
    assert planned(project, "all", preset="mine") == {}


def test_the_command_of_the_page_makes_no_more_than_it_says(project):
    assert "snakemake --cores 2 --configfile config/mine.yaml -- table1 bits" in PAGE.read_text(
        encoding="utf-8"
    )
    assert planned(project, "bits", preset="mine").keys() <= {"bits"}


def test_new_kinds_keep_the_promises_of_all_kinds(project):
    """The contract tests find them by themselves."""
    shutil.copytree(ROOT / "tests", project / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", project)
    names = " or ".join(Path(name).stem for name in sorted(KINDS))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/test_kinds.py", "-k", names],
        cwd=project, env=environment(project), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) > 20


def test_what_the_page_adds_is_formatted_and_typed(project):
    for words in (["ruff", "check"], ["ruff", "format", "--check"]):
        python = [name for name in files() if name.endswith(".py")]
        shutil.copy2(ROOT / "pyproject.toml", project)
        done = subprocess.run(
            [sys.executable, "-m", *words, *python],
            cwd=project, env=environment(project), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
