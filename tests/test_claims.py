"""Claims, from tables written by hand."""

import pandas as pd
import pytest
from small_experiment import clustering_curves, make_results, small_experiment

from kdcore import KDError
from kdlab import claims
from kdlab.paper import sizes


@pytest.fixture
def experiment():
    return small_experiment()


def front(*rows: tuple) -> pd.DataFrame:
    """Rows of (model, method, test perplexity, the paper's)."""
    return pd.DataFrame(rows, columns=["model", "method", "test_ppl_mean", "paper_ppl"])


def test_the_papers_arithmetic_holds_but_for_one_rate():
    judged = list(claims.arithmetic_claims(sizes()))
    assert [claim.claim for claim in judged if not claim.holds] == [
        "Table 1: compression rate 0.033 of the large model's linear rows"
    ]


def test_claims_beside_the_paper_are_of_models_that_it_has(experiment):
    rows = [
        (model, method, ppl, paper if model == "first" else None)
        for model in ("first", "second")
        for method, ppl, paper in (("full", 100.0, 110.0), ("chance", 150.0, 151.0),
                                   ("learned", 101.0, 90.0))
    ]  # fmt: skip
    judged = list(claims.table1_claims(experiment, front(*rows)))
    assert {claim.claim.partition(":")[0] for claim in judged} == {"first"}
    assert [claim.holds for claim in judged] == [True, True, True, True, False]
    assert judged[0].paper == "random 151.0 or more, learned 90.0 or less"
    assert judged[1].evidence == "front.csv; rows learned"
    alone = small_experiment()
    alone.preset.tables["front"].paper.clear()
    judged = list(claims.table1_claims(alone, front(*rows)))
    assert {claim.claim.partition(":")[0] for claim in judged} == {"first", "second"}


def test_a_row_beyond_the_claims_has_no_say(experiment):
    rows = [("first", "full", 100.0, 100.0), ("first", "chance", 150.0, 150.0),
            ("first", "learned", 101.0, 100.0), ("first", "thin", 10.0, None)]  # fmt: skip
    judged = list(claims.table1_claims(experiment, front(*rows)))
    assert len(judged) == 5 and all(claim.holds for claim in judged)


def test_random_codes_that_are_better_than_the_papers_do_not_reproduce_it(experiment):
    rows = [("first", "full", 100.0, 100.0), ("first", "chance", 120.0, 150.0),
            ("first", "learned", 101.0, 100.0)]  # fmt: skip
    judged = {c.claim: c.holds for c in claims.table1_claims(experiment, front(*rows))}
    assert judged["first: <chance> is as bad as the paper's (within 1 %)"] is False


def test_a_claim_whose_model_was_not_run_is_open(experiment):
    rows = [("first", "full", 100.0, 100.0), ("first", "chance", None, 150.0),
            ("first", "learned", 101.0, 100.0)]  # fmt: skip
    judged = list(claims.table1_claims(experiment, front(*rows)))
    assert [claim.holds for claim in judged] == [None, True, True, None, True]
    assert judged[0].measured == "" and judged[0].evidence.startswith("not run")
    assert "| open |" in claims.as_markdown(judged)


def test_the_sweep_is_judged_against_the_conventional_row_of_the_front_table(experiment):
    points = pd.DataFrame(
        {"swept": ["K", "K", "D", "D"], "K": [2, 4, 4, 4], "D": [3, 3, 1, 3],
         "test_ppl": [130.0, 100.0, 101.0, 100.0]}
    )  # fmt: skip
    table = front(("first", "full", 95.5, None))
    of_K, of_D = claims.sweep_claims(experiment, points, table)
    assert of_K.measured == "K = 2: 130.0; K = 4: 100.0; conventional 95.5" and of_K.holds
    assert of_D.holds is False and "D = 1 has K^D = 4 codes" in of_D.evidence


def test_a_sweep_without_the_value_of_the_table_is_judged_against_the_tables_row(experiment):
    points = pd.DataFrame(
        {"swept": ["K", "D"], "K": [2, 4], "D": [3, 1], "test_ppl": [130.0, 101.0]}
    )
    method = experiment.preset.sweeps["shape"].method
    of_K, of_D = claims.sweep_claims(experiment, points, front(("first", method, 100.0, None)))
    assert of_K.measured == "K = 2: 130.0; K = 4: 100.0" and of_K.holds
    assert of_D.measured == "D = 1: 101.0; D = 3: 100.0" and of_D.holds is False
    open_claims = claims.sweep_claims(experiment, points, front(("first", "full", 95.5, None)))
    assert [claim.holds for claim in open_claims] == [None, None]


def test_the_clustering_claims_hold_where_the_paper_is_right():
    assert [claim.holds for claim in claims.clustering_claims(clustering_curves())] == [True] * 3


def test_every_claim_is_yes_no_or_open(experiment, tmp_path):
    results = make_results(experiment, tmp_path, experiment.models())
    judged = claims.judge(experiment, results, sizes())
    assert {type(claim.holds) for claim in judged} == {bool}
    columns = ["claim", "paper", "measured", "holds", "evidence"]
    assert list(claims.as_frame(judged).columns) == columns
    assert r"\<chance>" in claims.as_markdown(judged)
    assert sorted(claims.needs(experiment)) == [
        "figure3_clustering.csv", "front.csv", "shape_sweep.csv", "table2.csv",
        "table2_similarity.csv",
    ]  # fmt: skip


def test_a_preset_without_claims_has_those_of_arithmetic(tmp_path):
    change = {"claims": None, "clustering": None, "table2": None}
    experiment = small_experiment(change)
    assert claims.needs(experiment) == []
    assert claims.judge(experiment, tmp_path, sizes()) == list(claims.arithmetic_claims(sizes()))


def test_codes_whose_learner_chooses_k_and_d_have_a_claim_on_table_2(tmp_path):
    change = {"codes": {"square": {"kind": "grid"}}, "table2": {"codes": "square"}}
    experiment = small_experiment(change)
    results = make_results(small_experiment(), tmp_path, [])
    similarity, listing = (
        pd.read_csv(results / f"{name}.csv") for name in ("table2_similarity", "table2")
    )
    (alike,) = claims.table2_claims(experiment, similarity, listing)
    both = list(claims.table2_claims(small_experiment(), similarity, listing))
    assert both[0] == alike and len(both) == 2 and ", 3 shared: " in alike.measured


def test_the_verdict_counts():
    assert claims.verdict([True, False, False, None]) == (
        "Of 4 claims, 1 holds, 2 do not hold, 1 is open."
    )


def frontier(*rows: tuple) -> pd.DataFrame:
    """Rows of (model, method, label, ratio, seeds, test perplexity); validation's is 5 above."""
    names = ["model", "method", "label", "ratio", "n_seeds", "test_ppl_mean"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(valid_ppl_first=table["test_ppl_mean"] + 5)


@pytest.fixture
def with_frontier():
    goals = [{"ratio": 20, "test_ppl": 101.0}, {"ratio": 80, "test_ppl": 103.0}]
    asked = {"families": ["ours"], "models": ["first"], "goals": goals, "seeds": 2}
    return small_experiment(
        {"methods": {"learned": {"family": "ours"}}, "claims": {"frontier": asked}}
    )


def test_a_goal_is_judged_by_the_best_row_of_its_size_or_smaller(with_frontier):
    rows = frontier(
        ("first", "learned", "L", 90.0, 2, 100.5), ("first", "thin", "T", 25.0, 1, 100.1),
        ("first", "learned", "L", 10.0, 2, 90.0), ("second", "thin", "T", 90.0, 1, 80.0),
        ("first", None, "Theirs", 85.0, None, 104.0), ("first", "full", "F", None, 0, None),
    )  # fmt: skip
    judged = list(claims.frontier_claims(with_frontier, rows))
    assert [claim.holds for claim in judged] == [True, False, True, True]
    assert judged[1].measured == "L 100.50 at 90.0× (2 seeds); T 100.10 at 25.0× (1 seed)"
    assert judged[1].evidence == "frontier.csv; beside 2 rows of other methods"
    assert judged[3].measured.endswith("Theirs 104.00 at 85.0× (published)")
    assert {claim.paper for claim in judged} == {"beyond the paper"}


def test_a_family_that_no_method_has_is_refused_in_one_line():
    goals = [{"ratio": 20, "test_ppl": 101.0}]
    asked = {"families": ["our"], "models": ["first"], "goals": goals}
    change = {"methods": {"learned": {"family": "ours"}}, "claims": {"frontier": asked}}
    message = "families: family of methods 'our' is unknown; did you mean 'ours'"
    with pytest.raises(KDError, match=f"^claims.frontier.{message}"):
        small_experiment(change)


def test_our_row_is_chosen_on_validation_by_its_first_seed(with_frontier):
    rows = frontier(
        ("first", "learned", "L", 90.0, 2, 100.5), ("first", "learned", "M", 95.0, 1, 100.4),
        ("first", "thin", "T", 85.0, 1, 100.45),
    ).assign(valid_ppl_first=[106.1, 106.2, 99.0])  # fmt: skip
    *_, reached, ahead = claims.frontier_claims(with_frontier, rows)
    assert reached.measured.startswith("L 100.50 at 90.0×") and reached.holds
    assert ahead.holds is False


def test_a_goal_of_too_few_seeds_or_without_a_row_is_open(with_frontier):
    rows = frontier(("first", "learned", "L", 30.0, 1, 100.5))
    reached, ahead, *smaller = claims.frontier_claims(with_frontier, rows)
    other = frontier(("first", "thin", "T", 30.0, 1, 100.4))
    _, behind, *_ = claims.frontier_claims(with_frontier, pd.concat([rows, other]))
    assert behind.holds is None and behind.evidence.endswith("fewer than 2 seeds of ours")
    assert (reached.holds, reached.measured) == (None, "L 100.50 at 30.0× (1 seed)")
    assert reached.evidence == "frontier.csv; open with fewer than 2 seeds of ours"
    assert ahead.holds is None and ahead.evidence.startswith("not run")
    assert all(claim.holds is None and not claim.measured for claim in smaller)
