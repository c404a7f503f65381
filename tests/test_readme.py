"""README and docs: what they tell a reader to type works, and what they link to is there.

The quick tests read every command; the slow ones run the Python, and plan the commands of
Snakemake and make in a copy of the project. A command whose comment says that it needs something
(a GPU, a cluster, the cloud, days, hours, a file of the reader's) is not run; its target is planned
all the same where the project has it.
"""

import contextlib
import doctest
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import snakemake.cli
import torch
import yaml
from project_copy import ROOT, copy_project, environment, run

from kdcore import EMBEDDINGS
from kdcore.command import main
from kdcore.compressing import Compressed
from kdcore.embeddings.uniform import UniformEmbedding
from kdlab.corpus import SPLITS, Corpus
from kdlab.experiment import load_experiment
from kdlab.planning import Plan
from kdlab.shown_results import MARK

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += [ROOT / "data/README.md", ROOT / "measurements/README.md", ROOT / "config/README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
# What a command may start with: more than this has to be added here, with a check of it below.
PROGRAMS = {".", "cd", "dvc", "git", "kdcore", "make", "pip", "pre-commit", "pytest", "python",
            "sed", "snakemake"}  # fmt: skip
NUMBER = re.compile(r"(?<![\w.,/·^-])\d[\d,]*(?:\.\d+)?(?![\w%^])")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=page_id)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> list[str]:
    """The blocks of code of a page, in some languages."""
    return [code for language, code in FENCE.findall(read(page)) if language in languages]


@dataclass(frozen=True)
class Command:
    """One command that a page tells to type.

    Attributes:
        words: without what sets variables of the environment.
        comment: what stands behind `#`.
    """

    page: Path
    words: tuple[str, ...]
    comment: str

    @property
    def program(self) -> str:
        return self.words[0]

    def __str__(self) -> str:
        return f"{page_id(self.page)}: {shlex.join(self.words)}"


def commands(page: Path) -> Iterator[Command]:
    """Every line of a page's shell blocks, and the commands between backticks in its text."""
    text = FENCE.sub(lambda block: "" if block[1] else block[0], read(page))
    for block in blocks(page, "", "sh", "bash"):
        for line in block.splitlines():
            yield from parsed(page, line)
    prose = FENCE.sub("", text)
    for quoted in re.findall(r"`([^`]+)`", prose):
        words = quoted.split()
        if words[0] in PROGRAMS - {"."} and len(words) > 1 and "…" not in quoted:
            yield from parsed(page, " ".join(words))


def parsed(page: Path, line: str) -> Iterator[Command]:
    command, _, comment = line.partition(" #")
    for part in re.split(r" && |; ", command):
        words = shlex.split(part)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words:
            yield Command(page, tuple(words), comment.strip())


# Files that pages tell a reader to write.
EXAMPLES = {name for text in map(read, PAGES) for name in re.findall(r"\bIn\s+`([^`]+)`:", text)}
EXAMPLES |= set(re.findall(r"preset of your own, `([^`]+)`", read(ROOT / "docs/get-started.md")))
COMMANDS = [command for page in PAGES for command in commands(page)]
SNAKEMAKE = sorted({c.words for c in COMMANDS if c.program == "snakemake"})
MAKE = sorted({c.words for c in COMMANDS if c.program == "make"})


# Links


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", read(page)), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_to_pages_headings_and_files_that_are_there(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", read(page))):
        parts = urlsplit(target)
        if parts.scheme:
            assert parts.scheme == "https", target
            continue
        there = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        assert there.exists(), f"{target} is not there"
        assert there.is_relative_to(ROOT), target
        if parts.fragment:
            assert parts.fragment in anchors(there), target


@every_page
def test_files_that_a_page_names_are_in_the_project(page):
    """Names with a folder, and those with one of the project's endings."""
    made = {"build", "runs", "results", "data", ".venv", ".snakemake"}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()  # fmt: skip
    names = {Path(name).name for name in tracked}
    for name in re.findall(r"`([\w./-]+)`", FENCE.sub("", read(page))):
        top = name.split("/")[0]
        known = (ROOT / top).exists() and top not in made
        if "/" in name.rstrip("/") and known and name not in EXAMPLES and "..." not in name:
            assert (ROOT / name).exists() or (page.parent / name).exists(), name
        elif re.fullmatch(r"[\w-]+\.(py|smk|toml|cff)", name):
            assert name in names, name


def test_every_page_of_the_documents_is_reached_from_the_readme():
    found, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        found.add(page)
        for target in re.findall(r"\]\(([^)\s:#]+\.md)", FENCE.sub("", read(page))):
            there = (page.parent / target).resolve()
            if there not in found and there in PAGES:
                waiting.append(there)
    assert found == set(PAGES)


# Commands, read


def test_every_command_is_known():
    assert len(SNAKEMAKE) > 20 and len(MAKE) > 10
    for command in COMMANDS:
        assert command.program in PROGRAMS or command.program.startswith("~"), str(command)


def options(words: tuple[str, ...]):
    """A command of Snakemake as Snakemake reads it."""
    with contextlib.chdir(ROOT):
        return snakemake.cli.get_argument_parser().parse_args(words[1:])


def configured(words: tuple[str, ...]) -> str:
    file = options(words).configfile
    return str(file[0]) if file else "config/paper.yaml"


def targets_of(preset: str) -> set[str]:
    """Targets by name, of a preset: the rules', and those that are called as its entries are."""
    if "table" in yaml.safe_load(read(ROOT / preset)):  # a table to compress, no experiment
        return {"compressed"}
    experiment = load_experiment(ROOT / preset)
    chosen = experiment.preset
    rules = "\n".join(map(read, [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]))
    names = set(re.findall(r"^ *rule (\w+):", rules, re.M))
    names |= {*chosen.tables, *chosen.sweeps, *chosen.figures}
    models = list(chosen.models)
    names |= {f"{table}_{model}" for table in chosen.tables for model in models}
    return names | {f"codes_{model}" for model in models}


@pytest.mark.parametrize("words", SNAKEMAKE, ids=shlex.join)
def test_a_snakemake_command_is_one_and_its_target_is_there(words):
    try:
        given = options(words)
    except SystemExit:
        pytest.fail(f"Snakemake does not take {shlex.join(words)}")
    for word in words:
        if word.startswith("profiles/"):
            assert (ROOT / word / "config.yaml").exists()
    preset = configured(words)
    if (ROOT / preset).exists():
        assert set(given.targets) <= targets_of(preset)
    else:
        assert preset in EXAMPLES, "no such preset"


@pytest.mark.parametrize("words", MAKE, ids=shlex.join)
def test_a_make_command_is_one(words):
    done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for word in words[1:]:
        key, is_setting, value = word.partition("=")
        if not is_setting:
            assert re.search(rf"^{re.escape(word)}:", read(ROOT / "Makefile"), re.M), word
        elif key == "TARGET":
            assert value in targets_of("config/paper.yaml"), word
        else:
            assert re.search(rf"^{key} \?=", read(ROOT / "Makefile"), re.M), word


def test_modules_scripts_and_requirements_of_commands_are_there():
    for command in COMMANDS:
        if command.program == "python" and command.words[1] == "-m":
            module = command.words[2].replace(".", "/")
            assert (ROOT / f"{module}.py").exists() or (ROOT / module / "__main__.py").exists()
        for word in command.words[1:]:
            if word.startswith(("tests/", "requirements")):
                assert (ROOT / word).exists(), str(command)


def test_settings_of_dvc_commands_are_in_the_presets():
    found = 0
    for command in COMMANDS:
        for word in command.words if command.program == "dvc" else ():
            if match := re.fullmatch(r"(config/\w+\.yaml):([\w.-]+)=.*", word):
                section = yaml.safe_load(read(ROOT / match[1]))
                for part in match[2].split("."):
                    section = section[part]
                found += 1
    assert found


# Numbers


def typed(page: Path) -> str:
    """A page without its code and without what is drawn from the results."""
    return FENCE.sub("", MARK.sub("", read(page)))


@pytest.mark.parametrize(
    ("page", "constants"),
    [
        # The versions of Python and of a licence, the paper's number on arXiv.
        ("README.md", {"3.11", "1.0", "1711.03067"}),
        # The paper's sizes in its own words, and how much one seed says.
        ("docs/results.md", {"0.4", "1.5"}),
        ("docs/explanation/the-method.md", set()),
        ("docs/explanation/codes-or-rounding.md", set()),
    ],
)
def test_pages_type_no_number_that_results_hold(page, constants):
    assert {n for n in NUMBER.findall(typed(ROOT / page)) if "." in n} <= constants
    # A mark that begins a line of a paragraph would end the paragraph.
    for line in read(ROOT / page).splitlines():
        assert not re.match(r" *<!-- = .*: ", line), line


def test_the_readme_is_short():
    """Some hundred lines, the table among them."""
    assert len(read(ROOT / "README.md").splitlines()) <= 110


# Python, run


def python(page: Path) -> str:
    """The blocks of a page that use the library, one after another."""
    found = [code for code in blocks(page, "python") if not code.startswith('"""')]
    return "\n".join(found)


RUN = [page for page in PAGES if python(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=page_id)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "page"}
    exec(compile(python(page), str(page), "exec"), names)
    with torch.no_grad():
        embedding = names["embedding"]
        assert embedding(torch.tensor([[1, 2], [3, 4]])).shape == (2, 2, 64)
    # What is said of sizes.
    assert repr(names["learned"].codes) == "Codes(N=2000, K=32, D=8, 10000 bytes)"
    # Better than without a refinement, as the page says.
    errors = [record.error for record in names["learned"].history]
    assert min(errors[20:]) < errors[19]


def test_the_commands_that_compress_a_table_run_and_so_does_their_python(tmp_path, monkeypatch):
    """With a form that is given, not chosen: choosing takes minutes."""

    def compress_table(vectors, **options):
        settings = EMBEDDINGS.parse({"kind": "uniform", "bits": 2})
        return Compressed(UniformEmbedding(torch.as_tensor(vectors), 2).eval(), settings, {})

    monkeypatch.setattr("kdcore.compressing.compress_table", compress_table)
    monkeypatch.chdir(tmp_path)
    names = ["king", "queen", "paris", "woman", "man", *(f"w{i}" for i in range(295))]
    table = torch.randn(300, 8)
    for file, words in (("vectors.txt", names), ("more.vec", ["new", "newer"])):
        rows = zip(words, table.tolist(), strict=False)
        lines = (f"{word} {' '.join(map(repr, row))}\n" for word, row in rows)
        Path(file).write_text("".join(lines), "utf-8")
    page, parts = ROOT / "docs/get-started.md", []
    for told in (page, ROOT / "README.md"):
        for command in commands(told):
            if command.program == "kdcore" and len(command.words) > 2:
                assert main(command.words[1:]) == 0, command
                parts.append(command.words[1])
    every = ["compress", "info", "evaluate", "neighbours", "encode", "export"]
    assert parts == [*every, "compress", "evaluate", "neighbours", "export"]
    made = {"vectors.kd", "vectors.html", "larger.kd", "small.vec"}
    assert made <= {path.name for path in tmp_path.iterdir()}
    model = torch.nn.Sequential(torch.nn.Embedding(40_000, 32))
    code, replace = blocks(page, "py")
    names: dict = {"model": model}
    exec(compile(code, str(page), "exec"), names)
    assert not isinstance(model[0], torch.nn.Embedding)
    # A saved table in the place of a model's own.
    ids = torch.tensor([[1, 2], [3, 4]])
    model = names["model"] = torch.nn.Sequential(torch.nn.Embedding(300, 8), torch.nn.Linear(8, 2))
    exec(compile(replace, str(page), "exec"), names)
    linear = model[1]
    for kind in (torch.float32, torch.bfloat16):
        model.to(kind)
        torch.testing.assert_close(model(ids), linear(names["v"][ids].to(kind)))


def test_the_pages_that_have_python_are_run():
    assert {page.name for page in RUN} == {"README.md", "get-started.md"}
    assert len(python(ROOT / "README.md").strip().splitlines()) <= 12


@every_page
def test_what_a_page_shows_at_a_prompt_is_what_comes(page):
    for code in blocks(page, "pycon"):
        test = doctest.DocTestParser().get_doctest(code, {}, page_id(page), str(page), 0)
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


# The rest, run or planned in a copy of the project


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the project with what the pages tell a reader to put there."""
    project = copy_project(tmp_path_factory.mktemp("pages") / "project")
    for name in ("Makefile", "measurements", "dvc.yaml", "params.yaml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, project / name)
    np.save(project / "vectors.npy", np.ones((3, 2), np.float32))
    (project / "mytext").mkdir()
    lines = "".join(f"the cat {i % 40} sat on mat {i % 7}\n" for i in range(400))
    for split in ("train", "valid", "test"):
        (project / f"mytext/{split}.txt").write_text(lines, encoding="utf-8")
    return project


def to_plan() -> dict[tuple[str, ...], list[str]]:
    """Targets of the pages' commands by the options they are asked for with, less the cluster's.

    What is asked for with the same options is planned at once.
    """
    found: dict[tuple[str, ...], set[str]] = {}
    for words in SNAKEMAKE:
        # Presets of one's own are run below and in test_extending.py.
        if "--report" in words or not (ROOT / configured(words)).exists():
            continue
        given = options(words)
        chosen = ("--configfile", configured(words))
        for option in ("--config", "--resources"):
            if option in words:
                chosen += (option, words[words.index(option) + 1])
        default = "compressed" if targets_of(configured(words)) == {"compressed"} else "all"
        found.setdefault(chosen, set()).update(given.targets or [default])
    # In one order: the names of tests must be the same in every worker.
    return {chosen: sorted(targets) for chosen, targets in found.items()}


@pytest.mark.slow
@pytest.mark.workflow
@pytest.mark.parametrize(("chosen", "targets"), to_plan().items(), ids=lambda v: shlex.join(v))
def test_what_the_pages_ask_snakemake_for_can_be_planned(chosen, targets, copy):
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--cores", "2", *chosen, "--", *targets],
        cwd=copy, env=environment(copy), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Job stats" in done.stdout or "Nothing to be done" in done.stdout


def test_numbers_of_others_are_taken_away_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for split in SPLITS:
        Path("mytext").mkdir(exist_ok=True)
        Path("mytext", f"{split}.txt").write_text("a cat\n", encoding="utf-8")
    shutil.copy(ROOT / "config/paper.yaml", tmp_path)
    _, text = blocks(ROOT / "docs/get-started.md", "yaml")
    assert text.startswith("extends: paper\n")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    mine = Plan.of(tmp_path / "mine.yaml", yaml.safe_load(text)).preset
    assert mine.tables["table1"].rows and not any(table.paper for table in mine.tables.values())
    assert mine.claims and mine.claims.frontier is None
    assert all(not getattr(figure, "published", None) for figure in mine.figures.values())


@pytest.mark.slow
@pytest.mark.workflow
def test_a_text_of_ones_own_is_a_line_of_a_preset(copy):
    preset, _ = blocks(ROOT / "docs/get-started.md", "yaml")
    preset = preset.replace("extends: demo", "extends: tiny")
    (copy / "config/mine.yaml").write_text(preset, encoding="utf-8")
    snakemake = (sys.executable, "-m", "snakemake", "--cores", "2", "--configfile")
    run(copy, *snakemake, "config/mine.yaml", "--", "data")
    (corpus,) = copy.glob("runs/texts/*/corpus.safetensors")
    assert set(Corpus.load(corpus).words) > {"cat", "39"}
    assert "train_model" in run(copy, *snakemake, "config/mine.yaml", "-n", "--", "all")


@pytest.mark.parametrize("kind", EMBEDDINGS.names())
def test_the_reference_is_linked_and_has_every_embedding(kind):
    assert "config/README.md" in read(ROOT / "README.md")
    assert f"kind `{kind}`" in read(ROOT / "config/README.md")


@every_page
def test_a_page_has_lines_that_fit_and_no_old_words(page):
    """But for tables, links, and what is generated."""
    text = MARK.sub("", read(page))
    for line in FENCE.sub("", text).splitlines():
        if page != ROOT / "config/README.md" and not line.startswith("|") and "](" not in line:
            assert len(line) <= 110, textwrap.shorten(line, 80)
    if page.name != "CHANGELOG.md":
        assert not re.search(r"(?i)symbol|`sizes`|\bcells? of code", text)
