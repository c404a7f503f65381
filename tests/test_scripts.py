"""Parts of scripts by themselves."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import torch

from kdcore import KDError
from kdcore.vectors import WordVectors
from kdlab.own import PTB_TOKENS, tokens_about
from kdlab.preset import Cell, CorpusVectors, TextFolder, read_preset

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
        ("all", 2 * 12 + 11 + 7 + 11 - 2),  # two of the sweep's models are in Table 1
        ("table1_large", 12),
        ("table1_medium", 12),
        ("figure3", 10 + 1),
        ("baselines", 9),
        ("codes", 9),
        ("codes_small-dropout", 3),
        ("codes_large", 3),
        ("table2", 0),
        ("figure2", 0),
    ],
)
def test_a_plan_is_of_its_target(script, preset, target, count):
    cells = script("plan").cells_of(preset, target)
    assert len(cells) == len(set(cells)) == count
    sizes = {cell.size for cell in cells}
    size = target.partition("_")[2]
    assert not size or sizes == {size}


def test_a_plan_of_no_table_and_of_no_size(script, preset):
    ablations = read_preset(ROOT / "config/ablations.yaml")
    assert script("plan").cells_of(ablations, "figure3") == []
    variants = len(ablations.ablations.variants)
    counts = {"all": 1 + variants, "retrained": 1 + variants, "embeddings": 1, "figure2": 0}
    for target, count in counts.items():
        assert len(script("plan").wanted(ablations, target)) == count
    with pytest.raises(KDError, match="table1_huge: model size 'huge' is not defined"):
        script("plan").cells_of(preset, "table1_huge")
    with pytest.raises(KDError, match="no plan of 'tabel2': all, data,"):
        script("plan").cells_of(preset, "tabel2")


def test_a_plan_has_the_models_that_codes_are_learned_from(script, preset):
    rows = [row for row in preset.table1.rows if row.codes != "none"]
    table = preset.table1.model_copy(update={"rows": rows})
    cells = script("plan").cells_of(preset.model_copy(update={"table1": table}), "table1_large")
    assert {Cell("large", "none", "none", None, None, seed) for seed in (1, 2, 3)} <= set(cells)


def test_a_plan_has_the_model_whose_embedding_table_2_shows(script, preset):
    vectors = CorpusVectors(kind="baseline", size="medium")
    preset = preset.model_copy(
        update={"table2": preset.table2.model_copy(update={"vectors": vectors})}
    )
    shown, cells_of = Cell("medium", "none", "none", None, None, 1), script("plan").cells_of
    for target in ("all", "baselines", "embeddings", "codes", "table2"):
        assert shown in cells_of(preset, target)
    assert shown not in cells_of(preset, "codes_small")


def test_a_text_of_ones_own_is_as_long_as_its_file(preset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = preset.model_copy(update={"corpus": TextFolder(kind="text", folder="mytext")})
    assert tokens_about(own) == tokens_about(preset) == PTB_TOKENS
    (tmp_path / "mytext").mkdir()
    (tmp_path / "mytext/train.txt").write_bytes(b"a word\n" * 1000)
    assert tokens_about(own) == pytest.approx(7000 / 5.488, rel=1e-3)


def test_table_1_names_what_fills_its_empty_cells(script, preset):
    table1 = script("table1")
    measured = pd.read_csv(ROOT / "results/paper/measurements.csv")
    rows = table1.build(preset, ["small-dropout", "large"], measured, {})
    text = table1.as_markdown(rows, preset)
    small, large = text.split("**large**")
    assert "`snakemake --cores 8 table1_large`" in large
    assert "table1_small" not in small
    demo = read_preset(ROOT / "config/demo.yaml")
    assert table1.command(demo, "small").endswith("config/demo.yaml -- table1_small")


def test_table_1_tells_what_sets_a_size_apart(script, preset):
    note = script("table1").note
    assert note(preset, "large") == ""
    assert note(preset, "small") == (
        "Linear, dropout: the linear transform with gradient_scale 0.1 in place of 1, "
        "dropout 0.2 in place of 0; "
        "LSTM, dropout: the LSTM transform with dropout 0.2 in place of 0"
    )
    assert note(preset, "small-dropout") == (
        "20 % of the words left out of the input in training; "
        "linear transform with gradient_scale 0.1 in place of 1"
    )


def test_a_dropout_of_all_rows_is_told(script, preset):
    own = preset.kd_embedding.lstm.model_copy(update={"dropout": 0.5})
    embedding = preset.kd_embedding.model_copy(update={"lstm": own})
    told = script("table1").note(preset.model_copy(update={"kd_embedding": embedding}), "large")
    assert told == "LSTM transform with dropout 0.5 in place of 0"


def test_latex_says_what_is_particular_and_escapes_it(script, preset):
    table1 = script("table1")
    rows = table1.build(preset, ["small"], pd.read_csv(ROOT / "results/paper/measurements.csv"), {})
    text = table1.as_latex(rows.assign(size="small-dropout"), preset)
    assert r"20 \% of the words left out" in text and r"gradient\_scale" in text


def test_claims_of_the_paper_are_of_sizes_that_it_has(script):
    rows = [
        {"size": size, "codes": codes, "transform": transform, "test_ppl_mean": 100.0,
         "paper_ppl": 110.0 if size == "small" else None}
        for size in ("small", "other")
        for codes, transform in (("none", "none"), ("random", "linear"), ("linear", "linear"))
    ]  # fmt: skip
    claims = script("claims").table1_claims
    about = {c.claim.partition(":")[0] for c in claims(pd.DataFrame(rows), True)}
    assert about == {"small"}
    about = {c.claim.partition(":")[0] for c in claims(pd.DataFrame(rows), False)}
    assert about == {"small", "other"}
    # A row beyond the paper has no say in what the paper printed.
    for codes in ("random", "linear"):
        beyond = {"size": "small", "codes": codes, "transform": "linear_dropout",
                  "test_ppl_mean": 90.0}  # fmt: skip
        rows.append(beyond)
    first = next(claims(pd.DataFrame(rows), True))
    assert (first.paper, first.measured[:12]) == (
        "random 110.0 or more, learned 110.0 or less", "random 100.0",
    )  # fmt: skip


def test_code_learning_stops_when_told_to_and_continues(tmp_path):
    torch.manual_seed(0)
    vectors = WordVectors(tuple(f"word{i}" for i in range(2000)), torch.randn(2000, 32))
    vectors.save(tmp_path / "vectors.safetensors")
    settings = {"epochs": 60, "batch": 50, "temperature": {"decay_rate": 1.0}}

    def start(name: str) -> subprocess.Popen:
        outputs = {"codes": "safetensors", "decoder": "safetensors", "history": "csv"}
        files = [f"--{kind}={tmp_path}/{name}/{kind}.{end}" for kind, end in outputs.items()]
        return subprocess.Popen(
            [
                sys.executable, str(ROOT / "workflow/scripts/learn_codes.py"),
                f"--vectors={tmp_path}/vectors.safetensors", "--K=16", "--D=6",
                "--transform=lstm", "--seed=1", f"--settings={json.dumps(settings)}",
                f"--scratch={tmp_path}/{name}/scratch", *files,
            ],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    whole, broken = start("whole"), start("broken")
    assert "epoch 1 of 60" in broken.stderr.readline()
    broken.terminate()
    told = broken.communicate(timeout=120)[1]
    assert broken.returncode == 1
    assert told.splitlines()[-1].endswith("stopped; the same command continues from the checkpoint")
    assert len(list((tmp_path / "broken/scratch").glob("[!.]*.safetensors"))) == 1
    assert not (tmp_path / "broken/codes.safetensors").exists()

    broken = start("broken")
    assert "continuing from a checkpoint" in broken.communicate(timeout=120)[1]
    assert "continuing" not in whole.communicate(timeout=120)[1]
    for name in ("codes.safetensors", "decoder.safetensors", "history.csv"):
        whole, broken = ((tmp_path / run / name).read_bytes() for run in ("whole", "broken"))
        assert whole == broken
    assert not list((tmp_path / "broken/scratch").glob("[!.]*.safetensors"))
