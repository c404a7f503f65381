"""What the paper states against what was measured; failures are reported like successes.

A claim that needs a model nobody has trained yet stays open: `measured` and `holds` are empty
and `evidence` says what is missing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from kdcore.transforms import TRANSFORMS, Transform
from kdlab.experiment import Experiment
from kdlab.paper import Size
from kdlab.sweeps import columns_of
from kdlab.tables import as_markdown_text, conventional_perplexity

# What stands in the place of the paper's number where it has none.
BEYOND = "beyond the paper"
# The paper calls its learned rows "similar or better": its own worst is 88.82 against 84.04.
SIMILAR = 88.82 / 84.04


@dataclass(frozen=True)
class Claim:
    """One row of claims.csv; `holds` is None where it is open."""

    claim: str
    paper: str
    measured: str = ""
    holds: bool | None = None
    evidence: str = ""


def needs(experiment: Experiment) -> list[str]:
    """The files of results that the claims are judged by."""
    preset = experiment.preset
    names = []
    if preset.claims:
        names.append(f"{preset.claims.table}.csv")
        if preset.claims.sweep:
            names.append(f"{preset.claims.sweep}_sweep.csv")
        if preset.claims.frontier:
            names.append("frontier.csv")
    if preset.clustering:
        names.append("figure3_clustering.csv")
    if preset.table2:
        names += ["table2.csv", "table2_similarity.csv"]
    return names


def judge(experiment: Experiment, results: Path, printed: list[Size]) -> list[Claim]:
    """Every claim that the preset has something to say about.

    Args:
        results: folder with the files that `needs` names.
        printed: the sizes of the paper's Table 1.
    """
    preset = experiment.preset
    claims = list(arithmetic_claims(printed))
    if preset.claims:
        table = pd.read_csv(results / f"{preset.claims.table}.csv")
        claims += table1_claims(experiment, table)
    if preset.clustering:
        claims += clustering_claims(pd.read_csv(results / "figure3_clustering.csv"))
    if preset.claims and preset.claims.sweep:
        points = pd.read_csv(results / f"{preset.claims.sweep}_sweep.csv")
        claims += sweep_claims(experiment, points, table)
    if preset.table2:
        similarity = pd.read_csv(results / "table2_similarity.csv")
        listing = pd.read_csv(results / "table2.csv", keep_default_na=False)
        claims += table2_claims(experiment, similarity, listing)
    if preset.claims and preset.claims.frontier:
        claims += frontier_claims(experiment, pd.read_csv(results / "frontier.csv"))
    return claims


def arithmetic_claims(printed: list[Size]) -> Iterator[Claim]:
    """What follows from the formulas alone; `printed` are the sizes of Table 1."""
    yield from _footnotes()
    yield _lemma()
    yield from _sizes(printed)


def _footnotes() -> Iterator[Claim]:
    """The footnotes: how much of a code space is used, and how seldom random codes collide."""
    N, D = 10_000, 100
    # Exact: shares of the code space that N words use.
    gain = Fraction(N, 2**D) / Fraction(N, 2**N)
    yield Claim(
        "Footnote 1: for K = 2, N = 10,000, D = 100, KD encoding uses its code space 2^(N−D) "
        "times better than one-hot encoding",
        "2^9900",
        f"2^{gain.numerator.bit_length() - 1}",
        gain == 2**9900,
        "(N / 2^D) / (N / 2^N), computed exactly",
    )
    N, K, D = 10**9, 100, 10
    free = math.exp(-N * (N - 1) / (2 * float(K) ** D))
    yield Claim(
        "Footnote 2: a billion random codes with K = 100, D = 10 have no collision at all with "
        "probability 99.5 %",
        "99.5 %",
        f"{100 * free:.2f} %",
        round(100 * free, 1) == 99.5,
        "exp(−n(n−1) / (2 K^D)), computed",
    )


def _lemma() -> Claim:
    """How the number of parameters grows with the vocabulary."""
    K, code_dim = 50, 200
    worst, sizes = 0.0, []
    for N in (10**4, 10**6, 10**9):
        D = math.ceil(math.log(N) / math.log(K))
        counted = _transform("linear", K, D, code_dim, code_dim).parameter_count()
        worst = max(worst, counted / (K * code_dim * (math.log(N) / math.log(K) + 1)))
        sizes.append(f"{counted:,} at N = {N:,}")
    return Claim(
        "Lemma 1: KD encoding needs O(K / log K · d′ · log N + C) parameters",
        "logarithmic in N",
        "; ".join(sizes),
        worst <= 1.0,
        "counted in the linear transform (C = 0) at K = 50, d′ = 200 and the smallest D with "
        "K^D ≥ N; never above K·d′·(log N / log K + 1)",
    )


def _sizes(printed: list[Size]) -> Iterator[Claim]:
    """The sizes and rates that Table 1 prints, and what they save."""
    N = 10_000
    saved = []
    for size in printed:
        model, rate = size.model, size.rate
        transform = _transform(size.transform, 50, 10, size.dim, 200)
        bias = getattr(transform, "bias", None)
        biases = 0 if bias is None else bias.numel()
        counted = transform.parameter_count()
        yield Claim(
            f"Table 1: embedding size of the {model} model with the {size.label} transform",
            f"{size.params:,}",
            f"{counted:,}" + (f" ({biases} of them biases)" if biases else ""),
            counted - biases == size.params,
            "counted in the module"
            + ("; cell with one W for all positions and an input matrix" if biases else ""),
        )
        found = (counted - biases) / (N * size.dim)
        saved.append(1 - found)
        yield Claim(
            f"Table 1: compression rate {rate} of the {model} model's {size.label} rows",
            str(rate),
            f"{found:.4f}",
            round(found, 3) == rate,
            f"counted in the module, without biases, over {N:,} × {size.dim:,}",
        )
    yield Claim(
        "82 % to 97 % of embedding parameters are saved",
        "82 % to 97 %",
        f"{100 * min(saved):.1f} % to {100 * max(saved):.1f} %",
        round(100 * min(saved)) == 82 and round(100 * max(saved)) == 97,
        "the four sizes above; the codes' own bits not counted",
    )


def _transform(kind: str, K: int, D: int, dim: int, code_dim: int) -> Transform:
    settings = TRANSFORMS.parse({"kind": kind, "code_dim": code_dim})
    with torch.device("meta"):
        transform: Transform = settings.module.build(settings, K, D, dim)
    return transform


def table1_claims(experiment: Experiment, table: pd.DataFrame) -> Iterator[Claim]:
    """Relations between rows of the front table, for each language model.

    Where the table stands beside the paper's, for each model that the paper has.
    """
    names = experiment.preset.claims
    assert names is not None
    file = f"{names.table}.csv"
    beside_paper = bool(experiment.preset.tables[names.table].paper)
    for model, rows in table.groupby("model", sort=False):
        if beside_paper and rows["paper_ppl"].isna().all():
            continue
        by_method = rows.set_index("method")
        ppl = {method: float(value) for method, value in by_method["test_ppl_mean"].items()}
        # A model need not have all rows.
        random_rows = [method for method in names.random if method in ppl]
        learned_rows = [method for method in names.learned if method in ppl]
        random = [ppl[method] for method in random_rows]
        learned = [ppl[method] for method in learned_rows]
        if not (random and learned and names.conventional in ppl):
            continue
        conventional = ppl[names.conventional]
        yield _when(
            [*random, *learned],
            f"random {min(random):.1f} or more, learned {max(learned):.1f} or less: "
            f"{100 * (min(random) / max(learned) - 1):+.1f} %",
            min(random) > SIMILAR * max(learned),
            f"{model}: random codes give much worse perplexity than learned ones",
            printed_range(by_method["paper_ppl"], names.random, names.learned),
            f"{file}; much is more than the {100 * (SIMILAR - 1):.1f} % that the paper's own "
            "table calls similar",
        )
        yield _when(
            [conventional, *learned],
            ", ".join(f"{100 * (value / conventional - 1):+.1f} %" for value in learned),
            max(learned) <= SIMILAR * conventional,
            f"{model}: learned codes give similar or better perplexity than the conventional "
            "embedding",
            f"at most {100 * (SIMILAR - 1):+.1f} % in the paper's own table",
            f"{file}; rows {', '.join(learned_rows)}",
        )
        for method in (names.conventional, *names.random, *names.learned):
            if method not in ppl or pd.isna(by_method.loc[method, "paper_ppl"]):
                continue
            goal = float(by_method.loc[method, "paper_ppl"])
            what, least = "reaches the paper's perplexity (at most 1 % above)", 0.0
            if method in names.random:
                # A row that is meant to be bad is not reproduced by a better one.
                what, least = "is as bad as the paper's (within 1 %)", 0.99 * goal
            yield _when(
                [ppl[method]],
                f"{ppl[method]:.2f}",
                least <= ppl[method] <= 1.01 * goal,
                f"{model}: {experiment.preset.methods[method].label} {what}",
                f"{goal:.2f}",
                file,
            )


def printed_range(printed: pd.Series, random: list[str], learned: list[str]) -> str:
    """What the paper's own table says of random and learned codes."""
    of_random = printed[printed.index.isin(random)]
    of_learned = printed[printed.index.isin(learned)]
    if of_random.isna().any() or of_learned.isna().any():
        return "much worse"
    return f"random {of_random.min():.1f} or more, learned {of_learned.max():.1f} or less"


def clustering_claims(curves: pd.DataFrame) -> Iterator[Claim]:
    """What Section 3 says of the three arms; judged on the mean over seeds."""
    last = curves[curves["arm"] != "k-means"].groupby(["arm", "seed"]).last()
    mean = last.groupby("arm").mean(numeric_only=True)
    seeds = curves["seed"].nunique()
    evidence = f"figure3_clustering.csv, {seeds} seeds"
    best = mean.loc["ste+schedule"]
    yield Claim(
        "Straight-through with a temperature schedule clusters better than its counterparts",
        "lowest loss, highest NMI",
        "; ".join(f"{arm}: loss {row.loss:.3f}, NMI {row.nmi:.3f}" for arm, row in mean.iterrows()),
        bool(
            (best["nmi"] > mean["nmi"].drop("ste+schedule")).all()
            and best["loss"] < mean.loc["ste+constant", "loss"]
        ),
        evidence + "; the soft arm's loss is that of continuous codes and not compared",
    )
    tail = curves.groupby(["arm", "seed"]).tail(10).groupby("arm")["changed"]
    constant = float(tail.min()["ste+constant"])
    yield Claim(
        "At constant temperature some percent of the codes keep changing",
        "some percent, always",
        f"at least {100 * constant:.1f} % in each of the last 10 epochs; with the schedule "
        f"{100 * float(tail.mean()['ste+schedule']):.1f} % on average",
        constant >= 0.01 and float(tail.mean()["ste+schedule"]) < constant,
        evidence,
    )
    falls, rises = [], []
    for _, curve in curves[curves["arm"] == "soft+schedule"].groupby("seed"):
        falls.append(curve["loss"].iloc[0] / curve["loss"].min())
        rises.append(curve["loss"].iloc[-1] / curve["loss"].min())
    yield Claim(
        "With continuous codes the loss first falls and then rises",
        "falls, then rises",
        f"first loss {min(falls):.0f} to {max(falls):.0f} times the least, final loss "
        f"{min(rises):.2f} to {max(rises):.2f} times",
        bool(min(falls) > 1.05 and min(rises) > 1.05),
        evidence,
    )


def sweep_claims(
    experiment: Experiment, points: pd.DataFrame, table: pd.DataFrame
) -> Iterator[Claim]:
    """Small K or D harms: the least value of the sweep against the one that the table has."""
    names = experiment.preset.claims
    assert names is not None and names.sweep is not None
    sweep, held = experiment.preset.sweeps[names.sweep], experiment.held(names.sweep)
    called = columns_of(sweep)
    line = conventional_perplexity(experiment, table, sweep.model)
    own = table[(table["model"] == sweep.model) & (table["method"] == sweep.method)]
    of_table = own["test_ppl_mean"].mean()
    for path, name in called.items():
        by_value = points[points["swept"] == name].groupby(name)["test_ppl"].mean()
        least, default = min(sweep.vary[path]), held[path]
        space = _code_space({called[p]: v for p, v in {**held, path: least}.items()})
        small = float(by_value.get(least, math.nan))
        full = float(by_value.get(default, of_table))
        yield _when(
            [small, full],
            f"{name} = {least}: {small:.1f}; {name} = {default}: {full:.1f}"
            + ("" if line is None else f"; conventional {line:.1f}"),
            small > SIMILAR * full,
            f"A small {name} harms perplexity",
            "worse than the default",
            f"{names.sweep}_sweep.csv; "
            + (f"{name} = {least} has K^D = {space:,} codes; " if space else "")
            + f"worse is by more than {100 * (SIMILAR - 1):.1f} %",
        )


def _code_space(values: dict[str, Any]) -> int | None:
    return values["K"] ** values["D"] if {"K", "D"} <= values.keys() else None


def table2_claims(
    experiment: Experiment, similarity: pd.DataFrame, listing: pd.DataFrame
) -> Iterator[Claim]:
    """Similar codes mean similar words."""
    assert experiment.preset.table2 is not None
    settings = experiment.preset.codes_from(experiment.preset.table2.codes)[-1]
    K = getattr(settings, "K", None)
    cosine = similarity[similarity["measure"] == "mean cosine"]
    D = int(cosine["shared_positions"].max())
    by_shared = {
        kind: part.set_index("shared_positions")["value"] for kind, part in cosine.groupby("codes")
    }
    learned, random = by_shared["learned"].dropna(), by_shared["random"]
    yield Claim(
        "Similar codes are learned for semantically similar words",
        "shown by example",
        ", ".join(f"{int(s)} shared: {value:.2f}" for s, value in learned.items())
        + f"; random codes, {D} shared: {random.get(D, math.nan):.2f}",
        bool(learned.is_monotonic_increasing and learned.get(D, 0) > 0.2),
        "table2_similarity.csv: mean cosine of centred vectors by shared positions",
    )
    if K is None:  # a learner that chooses it by itself
        return
    words = int(listing["words"].str.split(" ").str.len().sum())
    yield Claim(
        "Table 2: so small a code space forces words to collide, and most of it is used",
        "code space 1296 for 10,000 words",
        f"code space {K**D:,}; {words:,} words in {len(listing):,} codes",
        len(listing) < words and len(listing) > 0.5 * K**D,
        "table2.csv",
    )


def frontier_claims(experiment: Experiment, rows: pd.DataFrame) -> Iterator[Claim]:
    """For each goal: that a method of ours reaches it, and that none of others is better there.

    A row of fewer bits than the goal asks for counts too. Of ours, the row is chosen on the
    validation text, by its first seed: rows have unequal numbers of seeds. It must be ahead of
    every other method, published numbers included, on the test text.
    """
    asked = experiment.preset.claims.frontier if experiment.preset.claims else None
    assert asked is not None
    methods = experiment.preset.methods
    rows = rows[rows["model"].isin(asked.models) & rows["test_ppl_mean"].notna()]
    family = [getattr(methods.get(str(name)), "family", None) for name in rows["method"]]
    ours = pd.Series([name in asked.families for name in family], index=rows.index, dtype=bool)
    for goal in asked.goals:
        small = rows["ratio"] >= goal.ratio
        best = _least(rows[small & ours], "valid_ppl_first")
        other = _least(rows[small & ~ours], "test_ppl_mean")
        size, name = f"{goal.ratio:g} times fewer bits", asked.families[0]
        reached = Claim(
            f"Frontier: {name} at {size} have a test perplexity below {goal.test_ppl:g}",
            BEYOND, evidence="not run: no row of that size has been trained",
        )  # fmt: skip
        ahead = Claim(f"Frontier: no other method at {size} is better", BEYOND,
                      evidence=reached.evidence)  # fmt: skip
        if best is not None:
            found, enough = float(best["test_ppl_mean"]), best["n_seeds"] >= asked.seeds
            few = "" if enough else f"; open with fewer than {asked.seeds} seeds of ours"
            reached = replace(
                reached, measured=_point(best), evidence=f"frontier.csv{few}",
                holds=found < goal.test_ppl if enough else None,
            )  # fmt: skip
            if other is not None:
                beside = _plural(int((small & ~ours).sum()), "row")
                ahead = replace(
                    ahead, measured=f"{_point(best)}; {_point(other)}",
                    evidence=f"frontier.csv; beside {beside} of other methods{few}",
                    holds=found < float(other["test_ppl_mean"]) if enough else None,
                )  # fmt: skip
        yield reached
        yield ahead


def _least(rows: pd.DataFrame, score: str) -> pd.Series | None:
    return None if rows.empty else rows.loc[rows[score].idxmin()]


def _point(row: pd.Series) -> str:
    seeds = "published" if pd.isna(row["n_seeds"]) else _plural(int(row["n_seeds"]), "seed")
    return f"{row['label']} {row['test_ppl_mean']:.2f} at {row['ratio']:.1f}× ({seeds})"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("s" if count != 1 else "")


def _when(
    needed: list[float], measured: str, holds: bool, claim: str, paper: str, where: str
) -> Claim:
    if any(math.isnan(value) for value in needed):
        return Claim(claim, paper, evidence="not run: a model it needs has not been trained")
    return Claim(claim, paper, measured, bool(holds), where)


def as_frame(claims: list[Claim]) -> pd.DataFrame:
    """One row for each claim."""
    return pd.DataFrame([vars(claim) for claim in claims])


def as_markdown(claims: list[Claim]) -> str:
    """A Markdown table; a claim that could not be judged is open."""
    verdicts = {True: "yes", False: "**no**", None: "open"}
    lines = ["| Claim | Paper | Measured | Holds | Evidence |", "| --- | --- | --- | --- | --- |"]
    for claim in claims:
        claim_, paper, measured, evidence = (
            as_markdown_text(text)
            for text in (claim.claim, claim.paper, claim.measured, claim.evidence)
        )
        lines.append(f"| {claim_} | {paper} | {measured} | {verdicts[claim.holds]} | {evidence} |")
    return "\n".join(lines) + "\n"


def verdict(holds: list[bool | None]) -> str:
    """How many claims hold, in one sentence.

    Example:
        >>> verdict([True, True, None])
        'Of 3 claims, 2 hold, 1 is open.'
    """
    texts = {True: ("holds", "hold"), False: ("does not hold", "do not hold"),
             None: ("is open", "are open")}  # fmt: skip
    counts = {value: sum(verdict is value for verdict in holds) for value in texts}
    parts = [f"{n} {texts[value][n != 1]}" for value, n in counts.items() if n]
    return f"Of {len(holds)} claims, {', '.join(parts)}."
