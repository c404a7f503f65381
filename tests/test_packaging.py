"""The two packages, what they need, and the versions that are pinned."""

import ast
import doctest
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from datetime import date
from email.parser import Parser
from pathlib import Path

import numpy as np
import pytest
import yaml

import kdcore

ROOT = Path(__file__).parent.parent
LIBRARY = {"numpy", "pydantic", "safetensors", "torch"}


def names(requirements: list[str]) -> set[str]:
    """Names of distributions, as the package index compares them."""
    found = (re.match(r"[A-Za-z0-9._-]+", line) for line in requirements)
    return {re.sub(r"[-_.]+", "-", match.group()).lower() for match in found if match}


def lines(file: str) -> list[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def dependencies(pyproject: str) -> set[str]:
    return names(tomllib.loads((ROOT / pyproject).read_text("utf-8"))["project"]["dependencies"])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    project = folder / "project"
    project.mkdir()
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, project)
    for package in ("kdcore", "kdlab"):
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
        shutil.copytree(ROOT / package, project / package, ignore=ignore)
    subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
            "--wheel-dir", str(folder), str(project),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_installed_project_is_the_library_alone(wheel):
    files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "kdcore").rglob("*.py")}
    assert files == sources | {"kdcore/py.typed"}


@pytest.mark.slow
def test_the_six_commands_run_from_what_is_installed(wheel, tmp_path):
    """As after `pip install .`, in a folder without the project."""
    wheel.extractall(tmp_path / "installed")
    work = tmp_path / "work"
    work.mkdir()
    random = np.random.default_rng(0)
    rows = (
        random.normal(size=(20, 8))[np.arange(400) % 20] + random.normal(size=(400, 8)) / 9
    ).round(4)
    lines = [f"word{i} {' '.join(map(str, row))}\n" for i, row in enumerate(rows)]
    (work / "vectors.txt").write_text("".join(lines[:390]), encoding="utf-8")
    (work / "more.vec").write_text(f"10 8\n{''.join(lines[390:])}", encoding="utf-8")

    def kdcore(*words: str) -> str:
        place = {"PYTHONPATH": str(tmp_path / "installed"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-W", "error", "-m", "kdcore", *words]
        done = subprocess.run(
            command, cwd=work, env={**os.environ, **place}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    kdcore("compress", "vectors.txt", "--ratio", "8", "--out", "vectors.kd")
    assert "390 words x 8 numbers" in kdcore("info", "vectors.kd")
    assert "error" in kdcore("evaluate", "vectors.kd", "--against", "vectors.txt")
    assert "word27" in kdcore("neighbours", "vectors.kd", "word7", "--topn", "30")
    kdcore("encode", "vectors.kd", "more.vec", "--out", "larger.kd")
    assert "400 vectors" in kdcore("export", "larger.kd", "--to", "larger.vec")
    assert (work / "larger.vec").read_text(encoding="utf-8").startswith("400 8\n")


def test_library_declares_four_dependencies_and_its_version(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
    declared = metadata.get_all("Requires-Dist")
    assert names(entry for entry in declared if "extra ==" not in entry) == LIBRARY
    assert set(metadata.get_all("Provides-Extra")) == {"faiss", "gensim", "grid", "onnx"}
    assert metadata["Version"] == kdcore.__version__


def test_changelog_and_citation_are_of_this_version():
    """The newest entry of the changelog is the version's, with its day."""
    changes = re.search(r"^## \[(.+)\] - (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert changes is not None
    assert kdcore.__version__ == changes[1] == cited["version"]
    assert date.fromisoformat(changes[2]) == cited["date-released"]


def test_library_imports_only_what_it_declares():
    allowed = {*LIBRARY, *sys.stdlib_module_names, "kdcore"}
    for path in (ROOT / "kdcore").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Import(names=imported):
                    modules = [alias.name for alias in imported]
                case ast.ImportFrom(module=str(module), level=0):
                    modules = [module]
                case _:
                    continue
            assert {module.partition(".")[0] for module in modules} <= allowed, path


def test_environment_has_both_packages_of_this_folder(tmp_path):
    """Seen from another folder, and with no help from `PYTHONPATH`."""
    code = "import importlib.util as u; [print(u.find_spec(n).origin) for n in ('kdcore', 'kdlab')]"
    done = subprocess.run(
        [sys.executable, "-E", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    expected = [str(ROOT / name / "__init__.py") for name in ("kdcore", "kdlab")]
    assert done.stdout.split() == expected, "pip install -e . -e ./kdlab"


def test_public_names_are_there():
    for name in kdcore.__all__:
        assert getattr(kdcore, name) is not None, name


def test_example_of_the_library_runs():
    assert doctest.testmod(kdcore) == (0, 6)


def test_all_that_is_needed_is_pinned():
    locked = lines("requirements.lock")
    assert all("==" in line for line in locked)
    needed = names(lines("requirements.in"))
    assert needed <= names(locked)
    declared = dependencies("pyproject.toml") | dependencies("kdlab/pyproject.toml")
    assert declared - {"kdcore"} <= needed


def test_hooks_run_at_the_versions_of_the_lock():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    pins = [
        pin
        for repository in hooks["repos"]
        for hook in repository["hooks"]
        for pin in hook["additional_dependencies"]
    ]
    locked = lines("requirements.lock")
    assert pins and all(pin in locked for pin in pins if names([pin]) <= names(locked))
