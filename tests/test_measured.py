"""What was measured is shown under the settings it was measured with, and no others."""

from pathlib import Path

import pytest

from kdcore.files import read_json
from kdlab.measured import checks, config_hash, other_than_cell, other_than_variant
from kdlab.preset import Cell, Preset, read_preset, table1_cells

ROOT = Path(__file__).parent.parent
CELL = Cell("small", "linear", "lstm", 50, 10, 1)


@pytest.fixture
def preset() -> Preset:
    return read_preset(ROOT / "config/paper.yaml")


@pytest.fixture
def row(preset) -> dict:
    return {
        **vars(CELL),
        "settings": preset.sizes["small"].model_dump(),
        "embedding": preset.kd_embedding.lstm.model_dump(),
        "learning": preset.code_learning.linear.model_dump(),
        "data_hash": "abc",
    }


def test_the_same_settings(row, preset):
    assert other_than_cell(row, preset, CELL) == ""


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("settings", "epochs", 7),
        ("embedding", "gradient_scale", 0.2),
        ("learning", "epochs", 7),
        ("settings", "of_old", 1),
        ("embedding", "of_old", 1),
    ],
)
def test_another_setting(row, preset, section, name, value):
    before = config_hash(row)
    row[section] = {**row[section], name: value}
    assert other_than_cell(row, preset, CELL) != ""
    assert config_hash(row) != before


def test_another_cell(row, preset):
    row["D"] = 20
    assert "K50_D20" in other_than_cell(row, preset, CELL)


def test_a_setting_that_came_later_was_at_its_default(row, preset):
    del row["embedding"]["normalise"]
    assert "normalise" in other_than_cell(row, preset, CELL)
    del row["learning"]["estimator"]
    row["embedding"] = preset.kd_embedding.lstm.model_dump()
    assert other_than_cell(row, preset, CELL) == ""


@pytest.mark.parametrize("section", ["settings", "embedding", "learning"])
def test_settings_that_are_not_recorded_are_not_taken_for_these(row, preset, section):
    del row[section]
    assert other_than_cell(row, preset, CELL) == f"{section} not recorded"


@pytest.mark.parametrize("name", ["paper", "ablations"])
def test_what_is_published_is_what_the_preset_asks_for(name):
    wanted = checks(read_preset(ROOT / f"config/{name}.yaml"))
    published = ROOT / f"results/{name}/measured"
    found = [
        check(read_json(published / folder / "measurement.json"))
        for folder, check in wanted.items()
        if (published / folder).exists()
    ]
    assert len(found) > 5 and not [other for other in found if other]


@pytest.mark.parametrize("name", ["paper", "ablations"])
def test_published_results_know_the_preset_as_it_is(name):
    """What was not run is shown so: `make collect` after a change of a preset."""
    shown = read_json(ROOT / f"results/{name}/settings.json")
    asked = read_preset(ROOT / f"config/{name}.yaml").model_dump(mode="json")
    assert asked.keys() - shown.keys() <= {"compute", "data_mirror", "partial"}
    assert shown == {key: asked[key] for key in shown}


def test_a_variant_is_held_against_all_of_its_settings():
    preset = read_preset(ROOT / "config/ablations.yaml")
    chosen = preset.ablations
    variant = chosen.variants[0]
    row = {
        "codes": "linear", "transform": variant.transform, "K": chosen.K, "D": chosen.D, "seed": 1,
        "settings": preset.sizes[chosen.size].model_dump(),
        "embedding": variant.embedding.model_dump(),
        "learning": chosen.learning.model_dump(),
    }  # fmt: skip
    assert other_than_variant(row, preset, variant) == ""
    for change in ({"K": 2}, {"transform": "lstm"}, {"seed": 2}):
        assert other_than_variant(row | change, preset, variant) != ""
    row["learning"]["epochs"] += 1
    assert "epochs" in other_than_variant(row, preset, variant)


def test_a_size_outside_the_table_can_be_measured(preset):
    assert "medium" not in preset.table1.sizes
    wanted = checks(preset)
    assert all(cell.folder in wanted for cell in table1_cells(preset, ["medium"]))


def test_another_text(row, preset):
    assert checks(preset)[CELL.folder](row) == checks(preset, "abc")[CELL.folder](row) == ""
    assert "abc, not def" in checks(preset, "def")[CELL.folder](row)
    assert checks(preset, "abc")[CELL.folder](row | {"D": 20}) != ""
