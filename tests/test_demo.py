"""The demo shows what it is there to show: what `make demo` computes, in a copy of the project."""

from pathlib import Path

import pandas as pd
import pytest
from project_copy import copy_project, succeed

pytestmark = [pytest.mark.slow, pytest.mark.workflow]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    project = copy_project(tmp_path_factory.mktemp("demo") / "project")
    succeed(project, "claims", preset="demo")
    return project / "results/demo"


def test_learned_codes_are_better_than_random_ones(results):
    claims = pd.read_csv(results / "claims.csv", dtype=str).set_index("claim")["holds"]
    assert claims["small: random codes give much worse perplexity than learned ones"] == "True"


def test_learned_codes_are_smaller_than_the_table_and_as_good(results):
    table = pd.read_csv(results / "table1.csv").set_index("method")
    assert table.loc["linear-linear", "rate_with_codes"] < 0.05
    # Seeds differ by some per cent.
    ppl = table["test_ppl_mean"]
    assert ppl["linear-linear"] < 1.08 * ppl["conventional"]
