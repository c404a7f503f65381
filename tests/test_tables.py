"""Tables and sweeps, from measurements written by hand."""

from pathlib import Path

import pandas as pd
import pytest
from small_experiment import PRINTED, measure, small_experiment

from kdcore import KDError
from kdlab import paper, sweeps, tables
from kdlab.experiment import Experiment, load_experiment
from kdlab.measurements import read_measurements

ROOT = Path(__file__).parent.parent


@pytest.fixture
def experiment() -> Experiment:
    return small_experiment()


def measured_of(experiment: Experiment, folder: Path, *values: tuple) -> pd.DataFrame:
    """Measurements of (model, method, seed, test perplexity)."""
    paths = [
        measure(folder, experiment.model(model, method, seed), test_ppl=ppl, valid_ppl=ppl + 5)
        for model, method, seed, ppl in values
    ]
    return read_measurements(experiment, paths)


@pytest.fixture
def measured(experiment, tmp_path) -> pd.DataFrame:
    return measured_of(
        experiment, tmp_path, ("first", "full", 1, 100.0), ("first", "full", 2, 104.0),
        ("first", "chance", 1, 150.0), ("first", "thin", 1, 120.0),
    )  # fmt: skip


def test_a_row_is_the_mean_of_its_seeds_beside_the_papers(experiment, measured):
    rows = tables.build(experiment, "front", measured, PRINTED)
    assert list(rows.columns) == tables.COLUMNS
    assert rows["method"].tolist() == ["full", "chance", "learned", "full", "chance"]
    first = rows.iloc[0]
    assert (first["n_seeds"], first["test_ppl_mean"], first["valid_ppl_mean"]) == (2, 102.0, 107.0)
    assert first["valid_ppl_first"] == 105.0
    assert first["test_ppl_std"] == pytest.approx(8**0.5, abs=1e-4)
    assert (first["bits"], first["rate_with_codes"], first["paper_ppl"]) == (25600, 1.0, 100.0)
    assert pd.isna(rows.iloc[1]["test_ppl_std"])
    # Only the model that stands beside the paper has its numbers.
    assert rows["paper_ppl"].notna().tolist() == [True, True, True, False, False]


def test_a_row_that_was_not_run_says_so(experiment, measured):
    rows = tables.build(experiment, "front", measured, PRINTED)
    assert rows["n_seeds"].tolist() == [2, 1, 0, 0, 0]
    assert rows.iloc[2][["test_ppl_mean", "bits", "rate"]].isna().all()
    text = tables.as_markdown(rows, experiment, "front")
    assert r"| \*Learned\* | not run | 101.00 |" in text
    first, second = text.split("**second**")
    assert "`snakemake --cores 8 --configfile config/small.yaml -- front_first`" in first
    assert "front_second`" in second
    assert r"Learned*" in tables.as_latex(rows, experiment, "front")


def test_seeds_beyond_those_of_the_row_do_not_count(experiment, tmp_path):
    other = small_experiment({"tables": {"front": {"rows": [{"method": "full", "seeds": 3}]}}})
    paths = [measure(tmp_path, other.model("first", "full", seed)) for seed in (1, 2, 3)]
    measured = read_measurements(other, paths)
    assert tables.build(experiment, "front", measured, PRINTED).iloc[0]["n_seeds"] == 2


def test_a_table_judged_on_validation_has_no_test_perplexity(experiment, measured):
    rows = tables.build(experiment, "quick", measured, PRINTED)
    assert rows["test_ppl_mean"].isna().all()
    assert rows["valid_ppl_mean"].tolist()[1] == 125.0
    text = tables.as_markdown(rows, experiment, "quick")
    assert "| Thin | 125.00 | 1 |" in text and "Valid PPL" in text and "paper" not in text


def test_one_model_alone_also_one_that_the_table_has_not(measured):
    experiment = small_experiment({"tables": {"front": {"models": ["first"]}}})
    rows = tables.build(experiment, "front", measured, PRINTED, ["second"])
    assert rows["model"].unique().tolist() == ["second"]
    with pytest.raises(KDError, match="front has no row of the model 'third'"):
        change = {"models": {"third": {"extends": "first"}},
                  "tables": {"front": {"rows": [{"method": "full", "models": ["first"]}],
                                       "models": ["first"]}}}  # fmt: skip
        tables.build(small_experiment(change), "front", measured, PRINTED, ["third"])


def test_a_model_that_the_paper_has_not_is_one_line(measured):
    experiment = small_experiment({"tables": {"front": {"paper": {"first": "paper-modl"}}}})
    with pytest.raises(KDError, match=r"front\.paper\.first: .*did you mean 'paper-model'"):
        tables.build(experiment, "front", measured, PRINTED)


def test_what_sets_a_language_model_apart_is_said(experiment):
    schedule = "2 × 8 LSTM, 2 epochs (learning rate 1 for 1, then × 0.5 each)"
    assert tables.note(experiment, "first", ["float32"]) == f"{schedule}, float32"
    assert tables.note(experiment, "second") == (
        f"{schedule}; 20 % of the words dropped in training; "
        "embedding composed with gradient_scale 0.1 in place of 1"
    )


def test_captions_say_K_and_D(experiment):
    assert tables.explanation(experiment, "front").endswith(" K = 4, D = 3.")
    other = small_experiment({"codes": {"dice": {"K": 8}}})
    assert tables.explanation(other, "front").endswith(
        " dice codes: K = 8, D = 3; trained codes: K = 4, D = 3."
    )


def test_latex_escapes_what_it_would_read_otherwise(experiment, measured):
    rows = tables.build(experiment, "front", measured, PRINTED)
    text = tables.as_latex(rows, experiment, "front", {"first": ["float32"]})
    assert r"Full\_table \& all & 102.00 $\pm$ 2.83" in text
    assert r"20 \% of the words" in text and r"gradient\_scale" in text
    assert tables.as_latex_text("a\\b{}") == r"a\textbackslash{}b\{\}"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<unk>", r"\<unk>"), ("*star*", r"\*star\*"), ("`y`", r"\`y\`"), ("a|b", r"a\|b"),
        ("_a_ b_c", r"\_a\_ b_c"), ("AT&T &amp;", r"AT&T \&amp;"), ("$", r"\$"), ("\\", r"\\"),
    ],
)  # fmt: skip
def test_markdown_shows_words_as_they_are(text, escaped):
    assert tables.as_markdown_text(text) == escaped


def test_metrics_are_perplexity_size_and_rate_by_model_and_method(experiment, measured):
    found = tables.metrics(experiment, measured)
    assert found == {
        "first": {
            "full": {"test_ppl": 102.0, "size": 800, "rate": 1.0},
            "chance": {"test_ppl": 150.0, "size": 80, "rate": 0.125},
            "thin": {"valid_ppl": 125.0, "size": 800, "rate": 1.0},
        }
    }


def test_a_sweep_is_sorted_and_has_the_settings_that_are_held(experiment, tmp_path):
    points = experiment.sweep("shape")
    paths = [measure(tmp_path, p.run, test_ppl=p.values["codes.K"]) for p in points[:-1]]
    found = sweeps.build(experiment, "shape", read_measurements(experiment, paths))
    assert list(found.columns) == ["swept", "K", "D", "method", "seed", "test_ppl"]
    # (4, 3) is in the sweep over K and in that over D; the table has it too.
    assert found[["swept", "K", "D", "test_ppl"]].values.tolist() == [
        ["K", 2, 3, 2.0], ["K", 4, 3, 4.0], ["K", 8, 3, 8.0], ["D", 4, 1, 4.0], ["D", 4, 3, 4.0],
    ]  # fmt: skip


def test_a_sweep_of_which_nothing_was_run_has_its_columns(experiment):
    found = sweeps.build(experiment, "rank", read_measurements(experiment, []))
    assert list(found.columns) == ["swept", "rank", "method", "seed", "test_ppl"] and found.empty


def test_settings_with_one_last_name_are_told_apart(experiment):
    sweep = experiment.preset.sweeps["shape"]
    other = sweep.model_copy(update={"vary": {"codes.K": [2], "embedding.K": [2]}})
    assert sweeps.columns_of(other) == {"codes.K": "codes.K", "embedding.K": "embedding.K"}


def test_the_papers_numbers_are_those_of_rows_of_the_front_table():
    printed = paper.table1()
    preset = load_experiment(ROOT / "config/paper.yaml").preset
    front = preset.tables[preset.claims.table]
    methods = [row.method for row in front.rows]
    for model, theirs in front.paper.items():
        assert [row.method for row in front.rows_of(model)] == list(printed[theirs])
    seven = list(dict.fromkeys(methods))
    assert seven == list(printed["small"]) == list(printed["large"]) and len(seven) == 7
