import json
import logging

import pytest
from small_experiment import measure, small_experiment

from kdcore import KDError
from kdlab.measurements import COLUMNS, read_measurements


@pytest.fixture
def experiment():
    return small_experiment()


def test_a_measurement_belongs_to_the_run_whose_address_it_has(experiment, tmp_path):
    run = experiment.model("first", "learned", 2)
    other = experiment.model("first", "full", 1)
    # What the file calls itself has no say.
    paths = [measure(tmp_path, run, method="of old", label="Old"), measure(tmp_path, other)]
    found = read_measurements(experiment, paths)
    assert list(found.columns) == COLUMNS
    assert found[["address", "model", "method", "label", "seed"]].values.tolist() == [
        [other.address, "first", "full", "Full_table & all", 1],
        [run.address, "first", "learned", "*Learned*", 2],
    ]
    assert found["K"].isna().tolist() == [True, False]


def test_another_address_is_left_out_with_a_warning(experiment, tmp_path, caplog):
    run = small_experiment({"models": {"first": {"epochs": 3}}}).model("first", "full", 1)
    with caplog.at_level(logging.WARNING, "kd"):
        found = read_measurements(experiment, [measure(tmp_path, run)])
    assert found.empty and list(found.columns) == COLUMNS
    assert f"left out: {tmp_path / run.address}" in caplog.text
    assert f"address {run.address} is no run of small" in caplog.text


def test_a_second_measurement_of_a_run_is_left_out_with_a_warning(experiment, tmp_path, caplog):
    run = experiment.model("first", "full", 1)
    paths = [measure(tmp_path / name, run, test_ppl=ppl) for name, ppl in (("a", 1), ("b", 2))]
    with caplog.at_level(logging.WARNING, "kd"):
        found = read_measurements(experiment, paths)
    assert found["test_ppl"].tolist() == [1]
    assert "a second measurement of first, Full_table & all, seed 1" in caplog.text


def test_only_the_runs_that_are_wanted(experiment, tmp_path, caplog):
    run, other = (experiment.model("first", "full", seed) for seed in (1, 2))
    paths = [measure(tmp_path, run), measure(tmp_path, other)]
    assert read_measurements(experiment, paths, [other])["seed"].tolist() == [2]


def test_a_file_that_is_no_measurement_is_one_line(experiment, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"address": "0"}))
    with pytest.raises(KDError, match=r"x\.json: must be a measurement"):
        read_measurements(experiment, [path])
