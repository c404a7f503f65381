"""Pages that are generated, and that they are those of what they are generated from."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from kdcore.embeddings import EMBEDDINGS
from kdcore.learners import LEARNERS
from kdcore.transforms import TRANSFORMS
from kdlab import document
from kdlab.experiment import Preset
from kdlab.figures import FIGURES
from kdlab.texts import TEXTS
from kdlab.vectors import VECTORS

ROOT = Path(__file__).parent.parent
PRESETS = [path for path in sorted(ROOT.glob("config/*.yaml")) if path.name != "paper_numbers.yaml"]


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    found = json.loads(document.schema())
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def test_pages_are_those_of_the_schema_and_the_requirements():
    """After a change of a setting: `python -m kdlab.document`."""
    assert (ROOT / "config/README.md").read_text(encoding="utf-8") == document.readme()
    assert (ROOT / "config/schema.json").read_text(encoding="utf-8") == document.schema()
    found = (ROOT / "workflow/environment.yaml").read_text(encoding="utf-8")
    assert found == document.environment()


def test_the_readme_shows_the_table_that_was_measured():
    """After a new result: `python -m kdlab.document`."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    table = (ROOT / "results/paper/table1.md").read_text(encoding="utf-8")
    assert page == document.with_table1(page, table)
    assert table in page


def test_the_reference_has_every_kind_with_its_settings():
    page = document.readme()
    for kinds in (TEXTS, VECTORS, LEARNERS, TRANSFORMS, EMBEDDINGS, FIGURES):
        for kind in kinds.names():
            _, _, section = page.partition(f", kind `{kind}`\n")
            assert section, kind
            place = f"{kinds.package.replace('.', '/')}/{kind}.py"
            assert f"`{place}`" in page
    assert "| `rank` | integer, ≥ 1 | required |" in page


def test_every_setting_is_described():
    seen = set()

    def walk(model):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__module__}.{model.__name__}.{name}"
            for section in document._sections(field):
                assert section.__doc__
                if section not in seen:
                    seen.add(section)
                    walk(section)

    walk(Preset)
    assert len(seen) > 20


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.name)
def test_editors_find_nothing_wrong_with_the_presets(schema, path):
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert [error.message for error in schema.iter_errors(found)] == []


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("models", {"small": {"hiden": 1}}),
        ("codes", {"linear": {"kind": "linaer"}}),
        ("embeddings", {"table": {"kind": "low_rank", "rank": 0}}),
        ("methods", {"conventional": {"label": 1}}),
        ("tables", {"table1": {"rows": [{"seed": 3}]}}),
        ("text", {"kind": "generated", "seed": "one", "tokens": 1}),
    ],
)
def test_editors_find_what_is_wrong(schema, section, change):
    found = yaml.safe_load((ROOT / "config/paper.yaml").read_text(encoding="utf-8"))
    found[section] = change
    assert [next(iter(error.path)) for error in schema.iter_errors(found)] == [section]


def test_numbers_may_be_written_as_text(schema):
    found = yaml.safe_load((ROOT / "config/paper.yaml").read_text(encoding="utf-8"))
    found["models"]["large"]["decay"] = "1/1.15"
    assert not list(schema.iter_errors(found))
