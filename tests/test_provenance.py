from pathlib import Path

import pytest

from kdlab import provenance

ROOT = Path(__file__).parent.parent


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    (tmp_path / "kdcore").mkdir()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "kdcore/a.py").write_text("from kdcore.b import f\n")
    (tmp_path / "kdcore/b.py").write_text("import os\ndef f():\n    '''Doc.'''\n    return 1\n")
    (tmp_path / "kdcore/c.py").write_text("x = 1\n")
    (tmp_path / "scripts/_help.py").write_text("y = 1\n")
    (tmp_path / "scripts/s.py").write_text("import _help\nfrom kdcore import a\n")

    def changed(path: str, text: str) -> bool:
        before = current()
        (tmp_path / path).write_text(text)
        return current() != before

    def current() -> str:
        provenance._parse.cache_clear()
        provenance._meaning.cache_clear()
        return provenance.code_hash(tmp_path / "scripts/s.py")

    return changed


def test_what_is_imported_counts_however_far(project):
    assert project("kdcore/b.py", "import os\ndef f():\n    '''Doc.'''\n    return 2\n")
    assert project("scripts/_help.py", "y = 2\n")


def test_what_is_not_imported_does_not_count(project):
    assert not project("kdcore/c.py", "x = 2\n")


def test_comments_docstrings_and_layout_do_not_count(project):
    text = "import os  # why\n\n\ndef f():\n    '''Other.'''\n    return (1)\n"
    assert not project("kdcore/b.py", text)


@pytest.mark.parametrize(
    "script", sorted((ROOT / "workflow/scripts").glob("[!_]*.py")), ids=lambda p: p.stem
)
def test_a_scripts_closure_has_the_kdcore_modules_it_names(script):
    names = {path.stem for path in provenance._closure(script)}
    for line in script.read_text(encoding="utf-8").splitlines():
        if line.startswith("from kdcore."):
            assert line.split()[1].split(".")[-1] in names


def test_a_baseline_does_not_depend_on_codes():
    names = {p.stem for p in provenance._closure(ROOT / "workflow/scripts/train_baseline.py")}
    assert {"language_model", "training", "softmax", "corpus"} <= names
    assert not names & {"codes", "transforms", "embedding", "learning", "preset"}


def test_a_retrained_model_does_not_depend_on_measures_of_codes_or_on_the_presets():
    names = {p.stem for p in provenance._closure(ROOT / "workflow/scripts/retrain.py")}
    assert {"transforms", "embedding", "compression"} <= names
    assert not names & {"measures", "synthetic", "preset", "measured"}


def test_no_experiment_depends_on_the_whole_schema():
    for name in ("cluster", "generate_corpus", "learn_codes", "train_baseline", "retrain"):
        names = {p.stem for p in provenance._closure(ROOT / f"workflow/scripts/{name}.py")}
        assert "preset" not in names, name


def test_kdcore_knows_nothing_of_the_workflow():
    for path in (ROOT / "kdcore").rglob("*.py"):
        imported = {name.partition(".")[0] for name in _imported(path)}
        assert not imported & {"snakemake", "dvc", "workflow", "pandas", "matplotlib"}, path


def _imported(path: Path) -> list[str]:
    import ast

    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return names


def test_every_public_name_is_there():
    import kdcore

    assert all(getattr(kdcore, name).__name__ for name in kdcore.__all__ if name != "TRANSFORMS")
    assert {"LanguageModelSettings", "EpochRecord", "WordVectors"} <= set(dir(kdcore))
