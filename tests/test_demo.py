"""The demo shows what it is there to show: what `make demo` computes, in a copy of the project."""

from pathlib import Path

import pandas as pd
import pytest
from project_copy import copy_project, succeed

from kdlab.experiment import load_experiment

pytestmark = [pytest.mark.slow, pytest.mark.workflow]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    project = copy_project(tmp_path_factory.mktemp("demo") / "project")
    succeed(project, "claims", preset="demo")
    return project / "results/demo"


def test_learned_codes_are_better_than_random_ones_and_as_good_as_the_table(results):
    claims = pd.read_csv(results / "claims.csv", dtype=str).set_index("claim")["holds"]
    assert claims["small: random codes give much worse perplexity than learned ones"] == "True"
    (similar,) = claims[claims.index.str.startswith("small: learned codes give similar or better")]
    assert similar == "True"


def test_codes_are_smaller_than_the_table(results):
    table = pd.read_csv(results / "table1.csv").set_index("method")["rate_with_codes"]
    names = load_experiment(Path("config/demo.yaml")).preset.claims
    assert (table[[*names.random, *names.learned]] < 0.2).all()
    assert table["linear-linear"] < 0.05
