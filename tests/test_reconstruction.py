"""Word vectors compressed without a language model."""

import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from small_experiment import lost, small_experiment

from kdcore import KDError
from kdcore.compressed import compress
from kdcore.vectors import WordVectors, relative_error
from kdlab import reconstruction
from kdlab.experiment import Experiment
from kdlab.reconstruction import measure


@pytest.fixture
def vectors() -> WordVectors:
    centres = torch.randn(20, 16)
    table = centres[torch.randint(20, (300,))] + 0.3 * torch.randn(300, 16)
    return WordVectors(tuple(f"w{i}" for i in range(300)), table)


def test_what_is_measured_is_what_the_stored_form_has_lost(vectors):
    found = measure(vectors, "rounding", 7.0, seed=1)
    # Two bits a number and two scales of 16 bits; three would be 80 of 512.
    assert (found["bits_per_word"], found["ratio"]) == (64, 8)
    again = compress(vectors, ratio=7.0, forms=["rounding"], seed=1)
    composed = torch.stack([again[word] for word in vectors.words])
    assert found["error"] == pytest.approx(relative_error(vectors.vectors, composed), rel=1e-5)
    assert 0 < found["overlap"] < 1 and found["worst_cosine"] < found["cosine"] < 1
    assert found["chosen"].startswith("numbers rounded to")
    assert {"commit", "processor"} <= set(found)


def test_a_size_that_a_form_does_not_have_is_said_and_not_an_error(vectors):
    found = measure(vectors, "rounding", 100.0, seed=1)
    assert found["chosen"].startswith("none: ratio must leave room") and "error" not in found


def test_pairs_of_words_are_compared_before_and_after(vectors, tmp_path):
    """Against the rank correlation of SciPy."""
    before = torch.nn.functional.cosine_similarity(vectors.vectors[:40], vectors.vectors[40:80])
    pairs = [(f"w{i}", f"w{40 + i}", float(before[i]) + 0.5 * (i % 3)) for i in range(40)]
    lines = [f"{a}\t{b}\t{score}" for a, b, score in [*pairs, ("w1", "none", 1.0)]]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines))
    found = measure(vectors, "rounding", 7.0, seed=1, pairs=tmp_path / "pairs.tsv")
    made = compress(vectors, ratio=7.0, forms=["rounding"], seed=1)
    after = torch.nn.functional.cosine_similarity(
        made[[a for a, _, _ in pairs]], made[[b for _, b, _ in pairs]]
    )
    scores = [score for *_, score in pairs]
    assert found["pairs"] == 40
    assert found["similarity_before"] == pytest.approx(spearmanr(scores, before)[0], abs=1e-6)
    assert found["similarity"] == pytest.approx(spearmanr(scores, after)[0], abs=1e-6)
    assert found["similarity"] != found["similarity_before"]
    assert not {"pairs", "similarity"} & set(measure(vectors, "rounding", 7.0, seed=1))


def test_the_table_has_every_form_and_size_and_leaves_what_was_not_run_empty(tmp_path):
    experiment = small_experiment()
    paths = lost(experiment, tmp_path)
    table = reconstruction.table(experiment, paths[1:])
    forms = experiment.preset.reconstructions["words"].forms
    assert list(table["form"]) == [*forms, *forms]
    assert list(table["asked_ratio"]) == [4.0] * len(forms) + [16.0] * len(forms)
    assert pd.isna(table["error"][0]) and table["error"][1] == pytest.approx(0.04)
    assert pd.isna(table["wall_seconds"][0]) and table["wall_seconds"][1] == 1.0
    impossible = table[(table["form"] == "rounding") & (table["asked_ratio"] == 16)]
    assert pd.isna(impossible["error"]).all() and (impossible["chosen"] == "none: too small").all()


def test_an_unknown_form_is_one_line():
    with pytest.raises(KDError, match=r"reconstructions.words.forms.*'producd'") as refused:
        small_experiment({"reconstructions": {"words": {"forms": ["producd"]}}})
    assert "\n" not in str(refused.value)


def test_another_form_size_or_seed_is_another_run():
    def addresses(change: dict) -> set[str]:
        experiment: Experiment = small_experiment({"reconstructions": {"words": change}})
        return {run.address for run in experiment.reconstructions("words")}

    usual = addresses({})
    assert len(usual) == 10 and usual == addresses({"title": "Others"})
    assert not usual & addresses({"seed": 2}) and len(usual & addresses({"ratios": [4, 8]})) == 5
    pairs = {"distribution": "pairs", "version": "1", "file": "pairs.tsv", "sha256": "0" * 64}
    compared = addresses({"similarity": pairs})
    assert not usual & compared and addresses({"similarity": None}) == usual
    assert addresses({"similarity": {**pairs, "file": "other.tsv"}}) == compared
    assert not compared & addresses({"similarity": {**pairs, "sha256": "1" * 64}})


def test_columns_of_similarity_are_there_where_pairs_are_compared():
    pairs = {"distribution": "pairs", "version": "1", "file": "pairs.tsv", "sha256": "0" * 64}
    experiment = small_experiment({"reconstructions": {"words": {"similarity": pairs}}})
    compared = set(reconstruction.table(experiment, []))
    usual = set(reconstruction.table(small_experiment(), []))
    assert compared - usual == {"similarity", "similarity_before", "pairs"}
