"""Who may import whom: rules over workflow over kdlab over kdcore, and nobody in a circle."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = "workflow/scripts"


def modules(package: str) -> dict[str, Path]:
    """The files of a package, by the modules' names."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imported(source: str) -> set[str]:
    """What a file imports, at its head, in functions and for annotations alone: dotted names."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imported_by_rules(source: str) -> set[str]:
    """What a file of rules imports; Snakemake's language is not Python's."""
    return set(re.findall(r"^\s*(?:from|import) ([\w.]+)", source, re.M))


def graph(package: str) -> dict[str, set[str]]:
    """Of each module of a package those of the package that it imports."""
    known = modules(package)
    return {
        name: {
            whole if whole in known else whole.rpartition(".")[0]
            for whole in imported(path.read_text("utf-8"))
            if whole.partition(".")[0] == package
        }
        for name, path in known.items()
    }


@pytest.mark.parametrize("package", ["kdcore", "kdlab"])
def test_no_import_goes_in_a_circle(package):
    found = graph(package)
    assert sum(map(len, found.values())) > len(found)
    TopologicalSorter(found).prepare()


def test_nobody_imports_what_is_above():
    scripts = {path.stem for path in (ROOT / SCRIPTS).glob("*.py")}
    above = {
        "kdcore": {"kdlab", "benchmarks", "tests", *scripts},
        "kdlab": {"benchmarks", "tests", *scripts},
        SCRIPTS: {"benchmarks", "tests", *(scripts - {"_script"})},
    }
    for folder, forbidden in above.items():
        for path in (ROOT / folder).rglob("*.py"):
            first = {name.partition(".")[0] for name in imported(path.read_text("utf-8"))}
            assert not first & forbidden, path


def test_rules_import_the_packages_and_no_script():
    files = [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]
    found = {name for path in files for name in imported_by_rules(path.read_text("utf-8"))}
    packages = {name.partition(".")[0] for name in found}
    assert {"kdcore", "kdlab"} <= packages
    assert not packages & {path.stem for path in (ROOT / SCRIPTS).glob("*.py")}


def test_a_circle_would_be_found(tmp_path, monkeypatch):
    """Also one that only an annotation closes."""
    (tmp_path / "kdlab").mkdir()
    (tmp_path / "kdlab/__init__.py").touch()
    (tmp_path / "kdlab/a.py").write_text("from kdlab.b import B\n")
    (tmp_path / "kdlab/b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from kdlab import a\n"
    )
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    with pytest.raises(ValueError, match="cycle"):
        TopologicalSorter(graph("kdlab")).prepare()
