"""Parts of scripts by themselves."""

from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest

from kdcore import KDError
from workflow.preset import Cell, read_preset

ROOT = Path(__file__).parent.parent


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "workflow/scripts")
    return import_module


@pytest.fixture
def preset():
    return read_preset(ROOT / "config/paper.yaml")


@pytest.mark.parametrize(
    ("target", "count"),
    [
        ("all", 2 * 12 + 11 - 2),  # two of the sweep's models are in Table 1
        ("table1_large", 12),
        ("table1_medium", 12),
        ("figure3", 10 + 1),
        ("baselines", 6),
        ("codes", 6),
        ("figure2", 0),
    ],
)
def test_a_plan_is_of_its_target(script, preset, target, count):
    cells = script("plan").cells_of(preset, target)
    assert len(cells) == len(set(cells)) == count
    sizes = {cell.size for cell in cells}
    assert not target.startswith("table1_") or sizes == {target.removeprefix("table1_")}


def test_a_plan_of_no_table_and_of_no_size(script, preset):
    ablations = read_preset(ROOT / "config/ablations.yaml")
    assert script("plan").cells_of(ablations, "figure3") == []
    with pytest.raises(KDError, match="table1_huge: model size 'huge' is not defined"):
        script("plan").cells_of(preset, "table1_huge")


def test_a_plan_has_the_models_that_codes_are_learned_from(script, preset):
    rows = [row for row in preset.table1.rows if row.codes != "none"]
    table = preset.table1.model_copy(update={"rows": rows})
    cells = script("plan").cells_of(preset.model_copy(update={"table1": table}), "table1_large")
    assert {Cell("large", "none", "none", None, None, seed) for seed in (1, 2, 3)} <= set(cells)


def test_table_1_names_what_fills_its_empty_cells(script, preset):
    table1 = script("table1")
    measured = pd.read_csv(ROOT / "results/paper/measurements.csv")
    rows = table1.build(preset, ["small", "large"], measured, {})
    text = table1.as_markdown(rows, preset)
    small, large = text.split("**large**")
    assert "`snakemake --cores 8 table1_large`" in large
    assert "table1_small" not in small
    demo = read_preset(ROOT / "config/demo.yaml")
    assert table1.command(demo, "small").endswith("config/demo.yaml -- table1_small")
    assert table1.command(demo, "tiny").endswith("-- results/demo/table1_tiny.csv")
