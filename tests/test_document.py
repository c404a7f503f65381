"""Pages that are generated, and that they are those of what they are generated from."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from kdcore.embeddings import EMBEDDINGS
from kdcore.errors import KDError
from kdcore.learners import LEARNERS
from kdcore.transforms import TRANSFORMS
from kdlab import document
from kdlab.experiment import load_experiment
from kdlab.figures import FIGURES
from kdlab.preset import Preset
from kdlab.shown_results import MARK, drawn
from kdlab.texts import TEXTS
from kdlab.vectors import VECTORS

ROOT = Path(__file__).parent.parent
PRESETS = [
    path
    for path in sorted(ROOT.glob("config/*.yaml"))
    if path.name not in ("compress.yaml", "paper_numbers.yaml")
]


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


@pytest.mark.parametrize("page", document.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_the_results_that_there_are(page):
    """After a new result: `python -m kdlab.document`."""
    text = page.read_text(encoding="utf-8")
    assert text == drawn(text)
    assert text.count("<!-- = ") == len(MARK.findall(text)) == text.count("<!-- / -->")


def test_the_readme_has_table_1():
    """The small column whole, and of the large one the paper's numbers and what is ours."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    mark = "<!-- = results/paper/table1.md small -->"
    assert drawn(f"{mark}<!-- / -->") in page
    for method in load_experiment(ROOT / "config/paper.yaml").preset.tables["table1"].rows:
        for what in ("{paper_ppl:.2f}", "test_ppl"):
            assert f"table1.csv large-20 {method.method}: {what} -->" in page


@pytest.fixture
def results(tmp_path) -> Path:
    (tmp_path / "t.csv").write_text(
        "method,seed,test_ppl_mean,test_ppl_std,rate\n"
        "a,1,107.714,0.981,0.05\na,2,118.05,,0.25\nb*,1,,,\nc d,1,99,,1\n"
    )
    (tmp_path / "t.md").write_text("| a |\n")
    (tmp_path / "m.md").write_text("T.\n\n**a** (x)\n\n| 1 |\n\n**b c** (y)\n\n| 2 |\n")
    return tmp_path


@pytest.mark.parametrize(
    ("mark", "shown"),
    [
        ("t.csv a 1: test_ppl", "107.71 ± 0.98"),
        ("t.csv a seed=2: test_ppl", "118.05"),
        ("t.csv a last: {rate:.0%} of {seed}", "25% of 2"),
        ("t.csv b*: test_ppl", "not run"),
        ("t.csv b*: {rate:.1f}", "not run"),
        ("t.csv 'c d' 1: test_ppl", "99.00"),
        ('t.csv "method=c d": {rate:.1f}', "1.0"),
        ("t.md", "\n| a |\n"),
        ("m.md a", "\nT.\n\n**a** (x)\n\n| 1 |\n"),
        ("m.md b c", "\nT.\n\n**b c** (y)\n\n| 2 |\n"),
    ],
)
def test_a_mark_shows_what_it_names(results, mark, shown):
    page = f"x <!-- = {mark} -->old<!-- / --> y <!-- = t.csv a 1: {{rate}} --><!-- / -->"
    again = f"x <!-- = {mark} -->{shown}<!-- / --> y <!-- = t.csv a 1: {{rate}} -->0.05<!-- / -->"
    assert drawn(page, results) == again == drawn(again, results)


def test_a_table_of_its_own_is_shown_whole(results):
    page = drawn("<!-- = t.csv -->\n<!-- / -->", results)
    assert "| method | seed | test ppl mean |" in page
    assert "| --- | ---: | ---: |" in page
    assert "| b\\* | 1 |  |" in page


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("none.csv a: test_ppl", "none.csv: no such file"),
        ("m.md c", "no model c in m.md"),
        ("t.csv a: test_ppl", "must mean one row of t.csv, means 2"),
        ("t.csv c: test_ppl", "must mean one row of t.csv, means 0"),
        ("t.csv size=1: test_ppl", "no column size in t.csv; there are method, seed"),
        ("t.csv a 1: valid_ppl", "no such column in t.csv; there are method, seed"),
        ("t.csv a 1: {method:.2f}", "Unknown format code"),
        ("t.csv 'a 1: test_ppl", "No closing quotation"),
    ],
)
def test_a_mark_that_names_nothing_is_one_line(results, mark, message):
    with pytest.raises(KDError, match=message):
        drawn(f"<!-- = {mark} --><!-- / -->", results)


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
