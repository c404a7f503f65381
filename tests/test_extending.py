"""The pages of docs/extend/ are enough to add what they are about.

Their code is written into a copy of the project as it stands there; their presets are run as one.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from project_copy import ROOT, copy_project, environment, planned, run, succeed

from kdlab.grammar import generate
from kdlab.preset_files import merged

pytestmark = [pytest.mark.slow, pytest.mark.workflow]

PAGES = [page for page in sorted(ROOT.glob("docs/extend/*.md")) if page.name != "index.md"]
# A file's name at the end of a paragraph, and the block that comes next.
BLOCK = re.compile(r"`([\w/]+\.(?:py|yaml))`:\n\n```(?:python|yaml)\n(.*?)```", re.S)
KINDS = {
    "kdcore/embeddings/head.py", "kdcore/learners/quantiles.py", "kdcore/transforms/weighted.py",
    "kdlab/texts/one_file.py", "kdlab/figures/bits.py",
}  # fmt: skip


def files() -> dict[str, str]:
    """The files of the pages, by their place in the project."""
    found: dict[str, str] = {}
    for page in PAGES:
        found |= dict(BLOCK.findall(page.read_text(encoding="utf-8")))
    return found


def commands() -> list[list[str]]:
    """What the pages tell to run."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    return [shlex.split(line, comments=True) for line in re.findall("^snakemake .*$", text, re.M)]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project with all that the pages add, and their presets as one, `mine`."""
    project = copy_project(tmp_path_factory.mktemp("extending") / "project")
    mine: dict = {}
    for name, text in files().items():
        assert not (project / name).exists()
        (project / name).write_text(text, encoding="utf-8")
        if name.startswith("config/"):
            mine = merged(mine, yaml.safe_load(text))
    assert mine["extends"] == "demo"
    # The demo takes minutes: the same on the smallest preset.
    text = yaml.safe_dump({**mine, "extends": "tiny", "claims": None})
    (project / "config/mine.yaml").write_text(text, encoding="utf-8")
    corpus = generate(3000, seed=2)
    book = " ".join(corpus.words[i] for i in corpus.train).replace(" <eos> ", "\n")
    (project / "book.txt").write_text(book.removesuffix(" <eos>") + "\n", encoding="utf-8")
    return project


def test_each_page_has_its_file_and_a_preset_with_a_command():
    assert {name for name in files() if name.endswith(".py")} == KINDS
    presets = {name for name in files() if name.endswith(".yaml")}
    assert presets == {words[words.index("--configfile") + 1] for words in commands()}
    assert len(presets) == len(PAGES)


def test_each_command_can_be_planned(project):
    for words in commands():
        file = project / words[words.index("--configfile") + 1]
        file.write_text(file.read_text("utf-8").replace("extends: demo", "extends: tiny"), "utf-8")
        run(project, sys.executable, "-m", *words[:1], "-n", *words[1:])


def test_what_is_added_has_its_rows_and_figures_and_nothing_else_was_edited(project):
    targets = ["quantiles", "weighted", "rivals", "head", "wide", "bits"]
    succeed(project, *targets, preset="mine")
    results = project / "results/mine"
    rows = pd.concat(pd.read_csv(results / f"{name}.csv") for name in [*targets[:3], "wide"])
    rows = rows.drop_duplicates(["model", "method"]).set_index(["model", "method"])
    assert set(rows.index.unique("model")) == {"small", "wide"}
    for method in ("quantiles-linear", "linear-weighted", "head"):
        assert rows.loc[("small", method)].test_ppl_mean > 1
    table, head = rows.loc[("small", "conventional")], rows.loc[("small", "head")]
    words = table.embedding_params / 8
    assert head.n_seeds == 2 and head.embedding_params == words + 30 * 8
    assert head.bits == 32 * head.embedding_params
    assert rows.loc[("wide", "conventional")].embedding_params == 96 * words
    sweep = pd.read_csv(results / "head_sweep.csv")
    assert len(sweep) == 3 and sweep.test_ppl.notna().all()
    assert (results / "bits.png").read_bytes().startswith(b"\x89PNG")
    assert planned(project, "bits", preset="mine") == {}


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


def test_what_the_pages_add_is_formatted(project):
    shutil.copy2(ROOT / "pyproject.toml", project)
    for words in (["ruff", "check"], ["ruff", "format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", *words, *sorted(KINDS)],
            cwd=project, env=environment(project), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
