"""What a table costs, from times written by hand."""

import pytest
from small_experiment import measure, small_experiment

from kdlab.measurements import read_measurements
from kdlab.run_times import critical_path, jobs, totals

FITTED = {"embeddings": {"composed": {"fit": {}}}}


@pytest.fixture
def experiment():
    return small_experiment({"tables": {"front": {"paper": {}}}})


def timed(experiment, folder, *rows: tuple):
    """Measurements of (method, seed, device, seconds)."""
    paths = [
        measure(folder, experiment.model("first", method, seed), device=device, wall_seconds=time)
        for method, seed, device, time in rows
    ]
    return read_measurements(experiment, paths)


def test_hours_width_and_critical_path_by_device(experiment, tmp_path):
    measured = timed(
        experiment, tmp_path, ("full", 1, "cpu", 3600.0), ("full", 2, "cpu", 7200.0),
        ("chance", 1, "cpu", 3600.0), ("learned", 1, "NVIDIA H100", 1800.0),
        ("learned", 2, "cpu", 36000.0),
    )  # fmt: skip
    codes = [experiment.model("first", "learned", seed).inputs["codes"] for seed in (1, 2)]
    learning = {codes[0].address: 300.0, codes[1].address: 420.0}
    frame = jobs(experiment, "front", "first", measured, learning)
    assert dict(zip(frame["job"], frame["device"], strict=True)) == {
        "Full_table & all": "cpu", "<chance>": "cpu", "trained codes": "cpu", "*Learned*": "gpu",
    }  # fmt: skip
    assert frame["after"].tolist() == ["", "", "Full_table & all", "trained codes"]
    # 1.5 h, then codes for 0.1 h, then half an hour on the GPU; an hour beside them.
    one, ten = totals(experiment, "front", "first", frame)
    assert one == {
        "model": "first", "seeds": 1, "cpu_hours": 2.6, "gpu_hours": 0.5, "width": 2,
        "critical_path_hours": 2.1, "rows_not_run": 0,
    }  # fmt: skip
    assert ten == {**one, "seeds": 10, "cpu_hours": 26.0, "gpu_hours": 5.0, "width": 20}
    assert critical_path(frame) == {"Full_table & all", "trained codes", "*Learned*"}


def test_codes_whose_time_is_not_known_take_none(experiment, tmp_path):
    measured = timed(experiment, tmp_path, ("full", 1, "cpu", 60.0), ("learned", 1, "cpu", 30.0))
    frame = jobs(experiment, "front", "first", measured, {})
    assert frame["job"].tolist() == ["Full_table & all", "*Learned*"]
    assert frame["begin"].tolist() == [0.0, 60.0]


def test_a_fitted_row_waits_for_the_vectors_that_it_is_fitted_to(tmp_path):
    experiment = small_experiment(FITTED)
    measured = timed(experiment, tmp_path, ("full", 1, "cpu", 60.0), ("chance", 1, "cpu", 30.0))
    frame = jobs(experiment, "front", "first", measured, {})
    assert frame["begin"].tolist() == [0.0, 60.0]


def test_refined_codes_wait_for_those_that_they_start_from(experiment, tmp_path):
    run = experiment.model("first", "learned-better", 1)
    measured = timed(experiment, tmp_path, ("learned-better", 1, "cpu", 10.0))
    better = run.inputs["codes"]
    learning = {better.address: 5.0, better.inputs["start"].address: 7.0}
    frame = jobs(experiment, "quick", "first", measured, learning)
    assert frame[["job", "begin"]].values.tolist() == [
        ["trained codes", 0.0], ["better codes", 7.0], ["Better", 12.0],
    ]  # fmt: skip


def test_jobs_that_are_called_alike_are_told_apart(tmp_path):
    other = {"extends": "learned", "vectors": {"model": "second"}}
    rows = ["learned", "elsewhere", "thin"]
    experiment = small_experiment(
        {
            "methods": {"elsewhere": other, "thin": {"label": "*Learned*"}},
            "tables": {"both": {"title": "Both", "models": ["first"], "rows": rows}},
        }
    )
    times = [(method, 1, "cpu", 10.0) for method in ("full", *rows)]
    measured = timed(experiment, tmp_path, *times)
    codes = [experiment.model("first", method, 1).inputs["codes"] for method in rows[:2]]
    learning = {codes[0].address: 5.0, codes[1].address: 50.0}
    frame = jobs(experiment, "both", "first", measured, learning)
    assert frame["job"].tolist() == [
        "Full_table & all", "trained codes", "*Learned*", "trained codes, second model",
        "*Learned* (2)", "*Learned* (3)",
    ]  # fmt: skip
    assert critical_path(frame) == {"trained codes, second model", "*Learned* (2)"}


def test_nothing_run_is_no_number(experiment):
    measured = read_measurements(experiment, [])
    frame = jobs(experiment, "front", "first", measured, {})
    one, _ = totals(experiment, "front", "first", frame)
    assert one == {
        "model": "first", "seeds": 1, "cpu_hours": 0.0, "gpu_hours": 0.0, "width": 0,
        "critical_path_hours": None, "rows_not_run": 3,
    }  # fmt: skip
    assert critical_path(frame) == set()
