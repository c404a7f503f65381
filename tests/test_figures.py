"""Every figure in the folder of figures, and what is particular to some of them."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from small_experiment import make_results, small_experiment, word_files

from kdcore import KDError
from kdlab import drawing
from kdlab.drawing import FigureData, WordFiles
from kdlab.experiment import Experiment
from kdlab.figures import FIGURES
from kdlab.style import Style, parameters

NEEDS = {"curves", "benchmarks", "errors", "words"}


def data_of(
    experiment: Experiment, name: str, results: Path, folder: Path, benchmarks: bool = True
) -> FigureData:
    learned = experiment.model("first", "learned", 1).inputs["codes"].address
    benchmark = folder / "benchmark.tsv"
    benchmark.write_text("s\th:m:s\n30.0\t0:00:30\n")
    return FigureData(
        experiment.preset.figures[name],
        experiment,
        results,
        curves={path.parent.name: path for path in folder.glob("runs/*/curve.csv")},
        benchmarks={learned: benchmark} if benchmarks else {},
        errors=error_files(experiment, folder),
        word_files=WordFiles(*word_files(folder)),
    )


def error_files(experiment: Experiment, folder: Path) -> dict[str, Path]:
    """Errors of all codes that are learned from vectors: 0.01, 0.02, …"""
    runs = [run.inputs["codes"] for run in experiment.models() if "codes" in run.inputs]
    found = {}
    for run in dict.fromkeys(run for run in runs if "vectors" in run.inputs):
        found[run.address] = folder / f"{run.address}.json"
        error = 0.01 * len(found)
        found[run.address].write_text(json.dumps({"error": error, "error_by_occurrence": error}))
    return found


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return small_experiment()


@pytest.fixture(scope="module", params=["all run", "nothing run"])
def results(request, experiment, tmp_path_factory) -> Path:
    runs = experiment.models() if request.param == "all run" else []
    return make_results(experiment, tmp_path_factory.mktemp("figures"), runs)


@pytest.mark.parametrize("kind", FIGURES.names())
def test_a_kind_keeps_its_promises(experiment, kind):
    module = FIGURES.load(kind)
    settings = FIGURES.parse({"kind": kind, **module.EXAMPLE})
    assert isinstance(module.NUMERICS, int)
    assert all(need in NEEDS or need.endswith(".csv") for need in settings.needs)
    assert all(field.description for field in module.Settings.model_fields.values())
    assert hasattr(module, "TABLES") == hasattr(module, "tables")
    assert drawing.title(settings) in drawing.caption(settings)
    assert kind in {entry.kind for entry in experiment.preset.figures.values()}


@pytest.mark.parametrize("name", FIGURES.names())
def test_a_figure_is_the_same_bytes_every_time(experiment, results, name, tmp_path):
    data = data_of(experiment, name, results, results.parent)
    for turn in ("a", "b"):
        drawing.render(data, tmp_path / f"{turn}.png", tmp_path / f"{turn}.pdf")
    for kind in ("png", "pdf"):
        first, second = ((tmp_path / f"{turn}.{kind}").read_bytes() for turn in ("a", "b"))
        assert first == second and len(first) > 1000
    tables = drawing.tables(data)
    assert set(tables) == set(data.settings.table_files)


def draw(data: FigureData) -> Figure:
    with parameters():
        return data.settings.module.draw(data, Style())


def test_figure_3_has_the_conventional_line_of_the_front_table(experiment, tmp_path):
    results = make_results(experiment, tmp_path, experiment.models())
    table = pd.read_csv(results / "front.csv")
    table.loc[0, "test_ppl_mean"] = 77.5
    table.to_csv(results / "front.csv", index=False)
    panels = draw(data_of(experiment, "figure3", results, tmp_path)).axes
    titles = [panel.get_title(loc="left") for panel in panels]
    assert titles[2:] == ["(c) K varied, D = 3", "(d) D varied, K = 4"]
    for panel in panels[2:]:
        line, points = panel.lines
        assert line.get_label() == "Full_table & all" and set(line.get_ydata()) == {77.5}
        assert points.get_label() == "*Learned*"


def test_one_outlier_does_not_squash_the_learning_curves(experiment, tmp_path):
    results = make_results(experiment, tmp_path, experiment.models())
    data = data_of(experiment, "curves", results, tmp_path)
    odd = data.curves[experiment.model("first", "chance", 1).address]
    pd.DataFrame({"epoch": [1, 2], "valid_ppl": [9000.0, 900.0]}).to_csv(odd, index=False)
    first, second, _ = draw(data).axes[:3]
    assert first.get_ylim()[1] < 220 and second.get_ylim()[1] < 220
    labels = [text.get_text() for text in first.get_legend().get_texts()]
    rows = ["Full_table & all", "<chance> (ends at 900)", "*Learned*"]
    assert labels == [*rows, "entropy of the text"]


def test_curves_of_models_that_were_not_run_are_named(experiment, tmp_path):
    runs = experiment.table("front", ["second"])
    results = make_results(experiment, tmp_path, runs)
    figure = draw(data_of(experiment, "curves", results, tmp_path))
    assert figure.get_supxlabel() == "not run: first model, first model, quick"
    titles = [panel.get_title(loc="left") for panel in figure.axes[:1]]
    assert titles == ["second model, 20 % of the words dropped"]


def test_the_conventional_curve_is_in_the_panels_of_other_tables_too(experiment, tmp_path):
    results = make_results(experiment, tmp_path, experiment.models())
    panels = draw(data_of(experiment, "curves", results, tmp_path)).axes
    labels = [line.get_label() for line in panels[2].lines]
    assert labels == ["Full_table & all", "Better", "Thin", "entropy of the text"]


def test_two_methods_in_one_colour_have_lines_of_their_own(experiment, tmp_path):
    results = make_results(experiment, tmp_path, experiment.models())
    panel = draw(data_of(experiment, "curves", results, tmp_path)).axes[2]
    lines = [(line.get_color(), line.get_linestyle()) for line in panel.lines]
    assert len(set(lines)) == len(lines) == 4  # with the entropy of the text


def test_the_picture_of_a_table_names_rows_that_were_not_run(experiment, tmp_path):
    runs = [experiment.model("first", "full", seed) for seed in (1, 2)]
    results = make_results(experiment, tmp_path, runs)
    first, second = draw(data_of(experiment, "table1", results, tmp_path)).axes
    assert second.get_title("left") == "second model, 20 % of the words dropped"
    names = [text.get_text() for text in first.get_yticklabels()]
    assert names == ["Full_table & all", "<chance> (not run)", "*Learned* (not run)"]
    assert first.get_legend() is None


def test_the_frontier_has_each_rows_bits_and_others_numbers_marked(experiment, tmp_path):
    runs = [run for run in experiment.models() if run.names["method"] != "chance"]
    results = make_results(experiment, tmp_path, runs)
    data = data_of(experiment, "frontier", results, tmp_path)
    table = drawing.tables(data)["frontier.csv"].set_index(["model", "label"])
    full, learned = table.loc[("first", "Full_table & all")], table.loc[("first", "*Learned*")]
    # Vectors of 8 numbers of 32 bits; codes take an eighth.
    assert (full["bits_per_word"], full["ratio"], full["n_seeds"]) == (256, 1, 2)
    assert (learned["bits_per_word"], learned["ratio"], learned["source"]) == (32, 8, "measured")
    theirs, chance = table.loc[("first", "Theirs")], table.loc[("first", "<chance>")]
    assert (theirs["bits_per_word"], theirs["source"]) == (16, "Someone 2020")
    assert theirs["n_seeds"] is pd.NA and theirs["test_ppl_mean"] == 101.5
    assert chance["source"] == "not run" and pd.isna(chance["bits_per_word"])


def test_the_frontier_joins_a_family_and_marks_what_is_far_above(experiment, tmp_path):
    family = {"methods": {"chance": {"family": "codes"}, "learned": {"family": "codes"}}}
    experiment = small_experiment(family)
    results = make_results(experiment, tmp_path, experiment.models())
    table = pd.read_csv(results / "front.csv")
    table.loc[(table["model"] == "first") & (table["method"] == "learned"), "rate_with_codes"] = 0.5
    table.loc[(table["model"] == "first") & (table["method"] == "full"), "test_ppl_mean"] = 500
    table.to_csv(results / "front.csv", index=False)
    first, second = draw(data_of(experiment, "frontier", results, tmp_path)).axes
    joined = [list(line.get_xdata()) for line in first.lines]
    assert [32, 128] in joined
    arrow = next(line for line in first.lines if line.get_marker() == "^" and len(line.get_xdata()))
    assert arrow.get_xdata()[0] == 256 and first.get_ylim()[1] < 150
    assert [text.get_text() for text in first.texts] == ["500", "Theirs"] and not second.texts


def test_a_frontier_draws_a_line_in_the_legend_where_points_are_joined(experiment, tmp_path):
    family = {"methods": {"chance": {"family": "codes"}, "learned": {"family": "codes"}}}
    experiment = small_experiment(family)
    results = make_results(experiment, tmp_path, experiment.models())
    (legend,) = draw(data_of(experiment, "frontier", results, tmp_path)).legends
    lines = {line.get_label(): line.get_linestyle() for line in legend.get_lines()}
    assert lines.pop("codes") == "-" and "Full_table & all" in lines
    assert set(lines.values()) == {"None"}


def test_names_in_colours_that_are_alike_have_markers_of_their_own():
    colors = {"a": "#0072B2", "b": "#D55E00", "c": "#1f78b4", "d": "#0072B2", "e": "#E69F00"}
    markers = Style().markers(colors)
    assert markers["a"] == markers["b"] == "o"
    assert len({markers[name] for name in "acd"}) == 3 and markers["e"] != markers["b"]
    assert not {"^", "D"} & set(markers.values())


@pytest.mark.parametrize(("low", "high"), [(98, 215), (105, 225), (80, 400), (101, 115)])
def test_the_foot_of_a_perplexity_axis_can_be_read(low, high):
    axes = Style().figure(4, 3).subplots()
    Style().perplexity_axis(axes)
    axes.set_ylim(low, high)
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert 4 <= len(ticks) <= 12 and ticks[0] < 1.06 * low + 5


def test_tables_of_vectors_that_were_not_run_take_little_room(experiment, tmp_path):
    results = make_results(experiment, tmp_path, experiment.models())
    data = data_of(experiment, "reconstruction", results, tmp_path)
    rows = pd.read_csv(results / "reconstruction.csv")
    whole = draw(data).get_figheight()
    rows.assign(error=float("nan")).to_csv(results / "reconstruction.csv", index=False)
    figure = draw(data)
    assert figure.get_figheight() < whole / 2
    assert {text.get_text() for panel in figure.axes for text in panel.texts} == {"not run"}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("frontier", {"tables": ["fornt"]}, "entry of tables 'fornt' .* did you mean 'front'"),
        ("frontier", {"panels": [{"title": "", "models": ["frist"]}]}, "entry of models 'frist'"),
        ("errors", {"tables": ["fornt"]}, "entry of tables 'fornt'"),
        ("table1", {"table": "fornt"}, "entry of tables 'fornt'"),
        ("run_times", {"table": "fornt"}, "entry of tables 'fornt'"),
        ("curves", {"tables": ["front", "qick"]}, "entry of tables 'qick' .* did you mean 'quick'"),
        ("figure3", {"table": "fornt"}, "entry of tables 'fornt'"),
        ("figure3", {"sweep": "shap"}, "entry of sweeps 'shap' .* did you mean 'shape'"),
    ],
)
def test_what_a_figure_names_and_the_preset_has_not_is_refused_in_one_line(name, change, message):
    with pytest.raises(KDError, match=f"^figures.{name}: {message}"):
        small_experiment({"figures": {name: change}})


@pytest.mark.parametrize("score", ["test", "valid"])
def test_errors_stand_beside_the_perplexities_of_the_models_with_those_codes(score, tmp_path):
    codes = {f"trained-{D}": {"extends": "trained", "D": D} for D in (1, 2, 4, 5)}
    methods = {name: {"extends": "learned", "label": name, "codes": name} for name in codes}
    rows = ["full", "chance", *methods]
    experiment = small_experiment(
        {
            "codes": codes,
            "methods": methods,
            "tables": {"many": {"title": "Many", "models": ["first", "second"], "rows": rows}},
            "figures": {"errors": {"tables": ["many"], "score": score}},
        }
    )
    results = make_results(experiment, tmp_path, experiment.models())
    data = data_of(experiment, "errors", results, tmp_path)
    measured = pd.read_csv(results / "measurements.csv")
    # Of the first model a larger error is a lower perplexity; the second has one point too few.
    order = [data.errors[run.inputs["codes"].address] for run in experiment.table("many", ["first"])
             if run.names["method"] in methods]  # fmt: skip
    errors = {path.stem: json.loads(path.read_text())["error"] for path in order}
    of_codes = [errors.get(hash_, 0) for hash_ in measured["codes_hash"]]
    measured[f"{score}_ppl"] = [200 - 1000 * error for error in of_codes]
    measured["unique_codes"] = [round(10**6 * error) for error in of_codes]
    gone = (measured["model"] == "second") & (measured["method"] == "trained-1")
    measured[~gone].to_csv(results / "measurements.csv", index=False)
    made = drawing.tables(data)
    points = made["errors.csv"]
    assert set(points["method"]) == set(methods) and len(points) == 7
    assert (points[points["model"] == "first"].eval(f"{score}_ppl + 1000 * error") == 200).all()
    correlation = made["errors_correlation.csv"].set_index("panel")
    assert list(correlation["models"]) == [4, 3]
    assert correlation.loc["first", "error_by_occurrence"] == -1
    assert correlation.loc["first", "unique_codes"] == -1
    assert pd.isna(correlation.loc["second", "error_by_occurrence"])
    first, second = draw(data).axes
    assert "ρ = -1.00" in first.get_title("left") and "ρ" not in second.get_title("left")
    assert first.get_ylabel() == {"test": "test", "valid": "validation"}[score] + " perplexity"


def test_claims_about_a_frontier_that_is_not_drawn_are_refused_in_one_line():
    goals = [{"ratio": 20, "test_ppl": 101.0}]
    asked = {"families": ["ours"], "models": ["first"], "goals": goals}
    with pytest.raises(KDError, match="must have a figure of kind frontier, got code_space, "):
        small_experiment({"claims": {"frontier": asked}, "figures": {"frontier": None}})


def test_a_picture_has_the_colours_of_the_figure_in_a_palette(experiment, results, tmp_path):
    data = data_of(experiment, "figure2", results, results.parent)
    drawing.render(data, tmp_path / "a.png", tmp_path / "a.pdf")
    with Image.open(tmp_path / "a.png") as picture, parameters():
        drawn = io.BytesIO()
        data.settings.module.draw(data, Style()).savefig(drawn, format="png", dpi=200)
        few = np.asarray(picture.convert("RGB"), dtype=int)
        assert picture.mode == "P"
    with Image.open(drawn) as whole:
        exact = np.asarray(whole.convert("RGB"), dtype=int)
    assert few.shape == exact.shape and abs(few - exact).mean() < 1


def test_what_a_figure_needs_and_has_not_is_one_line(experiment, tmp_path):
    data = FigureData(experiment.preset.figures["table1"], experiment, tmp_path)
    with pytest.raises(KDError, match=r"front\.csv: no such file, and the figure table1 needs it"):
        draw(data)
    data = FigureData(experiment.preset.figures["figure1"], experiment, tmp_path)
    with pytest.raises(KDError, match="figure1 needs the vectors and codes of Table 2"):
        draw(data)


def test_a_kind_that_makes_other_tables_than_it_says_is_refused(experiment, tmp_path, monkeypatch):
    data = FigureData(experiment.preset.figures["figure2"], experiment, tmp_path)
    monkeypatch.setattr(data.settings.module, "TABLES", ("figure2.csv", "more.csv"))
    message = r"tables\(\) must make figure2.csv, more.csv, as TABLES says, got figure2.csv"
    with pytest.raises(KDError, match=f"figure kind figure2: {message}"):
        drawing.tables(data)


def test_colours_are_those_of_the_palette_or_hexadecimal():
    assert Style().color("blue") == Style().color("#0072B2") == "#0072B2"
    for wrong in ("blau", "#12", "tab:blue"):
        with pytest.raises(KDError, match=f"color must be #rrggbb or one of .*, got '{wrong}'"):
            Style().color(wrong)
