"""A small preset with everything in it, and measurements of it that nobody has made."""

import json
from pathlib import Path

import pandas as pd
import torch

from kdcore.codes import Codes
from kdcore.decoder import save_decoder
from kdcore.transforms import TRANSFORMS
from kdcore.vectors import WordVectors
from kdlab import claims, reconstruction, sweeps, table2, tables
from kdlab.addresses import Run
from kdlab.experiment import Experiment
from kdlab.measurements import read_measurements
from kdlab.paper import sizes
from kdlab.preset_files import merged

PRINTED = {"paper-model": {"full": {"ppl": 100.0, "params": 800, "rate": 1.0},
                           "chance": {"ppl": 150.0, "params": 80, "rate": 0.1},
                           "learned": {"ppl": 101.0, "params": 80, "rate": 0.1}}}  # fmt: skip

PRESET = {
    "text": {"kind": "generated", "training_tokens": 1000, "seed": 1},
    "vectors": {"kind": "model", "method": "full"},
    "models": {
        "first": {
            "hidden": 8, "init_scale": 0.1, "dropout": 0.0, "bptt": 5, "full_rate_epochs": 1,
            "decay": 0.5, "epochs": 2, "max_grad_norm": 5.0,
        },
        "second": {
            "extends": "first", "word_dropout": 0.2,
            "embeddings": {"composed": {"gradient_scale": 0.1}},
        },
    },
    "codes": {
        "dice": {"kind": "random", "K": 4, "D": 3},
        "trained": {"kind": "straight_through", "K": 4, "D": 3},
        "better": {"kind": "refine", "start": "trained"},
    },
    "embeddings": {
        "whole": {"kind": "table"},
        "composed": {"kind": "kd", "transform": {"kind": "linear"}},
        "thin": {"kind": "low_rank", "rank": 2},
    },
    "methods": {
        "full": {"label": "Full_table & all", "embedding": "whole"},
        "chance": {"label": "<chance>", "codes": "dice", "embedding": "composed",
                   "style": {"color": "red"}},
        "learned": {"label": "*Learned*", "codes": "trained", "embedding": "composed",
                    "style": {"color": "#0072B2"}},
        "learned-better": {"label": "Better", "codes": "better", "embedding": "composed"},
        "thin": {"label": "Thin", "embedding": "thin"},
    },
    "tables": {
        "front": {
            "title": "Front", "models": ["first", "second"], "paper": {"first": "paper-model"},
            "rows": [{"method": "full", "seeds": 2}, "chance",
                     {"method": "learned", "seeds": 2, "models": ["first"]}],
        },
        "quick": {"title": "Quick", "models": ["first"], "score": "valid",
                  "rows": ["learned-better", "thin"]},
    },
    "sweeps": {
        "shape": {"model": "first", "method": "learned",
                  "vary": {"codes.K": [8, 2, 4], "codes.D": [1, 3]}},
        "rank": {"model": "first", "method": "thin", "vary": {"embedding.rank": [1, 2]}},
    },
    "clustering": {"nodes": 10, "clusters": 2, "dim": 2, "spread": 0.1, "K": 2, "epochs": 1,
                   "every": 1, "seeds": 2},
    "table2": {"vectors": {"kind": "model", "method": "full", "model": "first"},
               "codes": "trained"},
    "reconstructions": {
        "words": {"title": "Words", "vectors": {"kind": "model", "method": "full",
                                               "model": "first"}, "ratios": [4, 16]},
    },
    "claims": {"table": "front", "conventional": "full", "random": ["chance"],
               "learned": ["learned"], "sweep": "shape"},
    "figures": {
        "table1": {"kind": "table1", "table": "front"},
        "frontier": {
            "kind": "frontier", "tables": ["front", "quick"],
            "panels": [{"title": "First", "models": ["first"]},
                       {"title": "Second", "models": ["second"]}],
            "published": [{"model": "first", "label": "Theirs", "ratio": 16, "test_ppl": 101.5,
                           "source": "Someone 2020"}],
        },
        "errors": {
            "kind": "errors", "tables": ["front", "quick"],
            "panels": [{"title": "First", "models": ["first"]},
                       {"title": "Second", "models": ["second"]}],
        },
        "reconstruction": {"kind": "reconstruction"},
        "figure3": {"kind": "figure3", "sweep": "shape", "table": "front"},
        "run_times": {"kind": "run_times", "table": "front"},
        **{name: {"kind": name} for name in ("curves", "figure1", "figure2", "code_space")},
    },
}  # fmt: skip


def small_experiment(change: dict | None = None) -> Experiment:
    """The experiment, with some of its sections laid over."""
    return Experiment("small", merged(PRESET, change or {}))


def measure(folder: Path, run: Run, **values) -> Path:
    """Write a measurement of a run, and its learning curve."""
    place = folder / run.address
    place.mkdir(parents=True, exist_ok=True)
    coded = "codes" in run.inputs
    found = {
        "address": run.address, "test_ppl": 100.0, "valid_ppl": 105.0, "train_ppl": 90.0,
        "epochs": 2, "embedding_params": 80 if coded else 800, "bits": 3200 if coded else 25600,
        "rate": 0.1 if coded else 1.0, "rate_with_codes": 0.125 if coded else 1.0,
        "model_params": 1000, "words": 100, "dim": 8, "K": 4 if coded else None,
        "D": 3 if coded else None, "unique_codes": 60 if coded else None,
        "code_entropy": 1.5 if coded else None, "wall_seconds": 60.0, "tokens_per_second": 1000,
        "device": "cpu", "precision": "float32", "threads": 1, "processor": "Some CPU",
        "blas": "some", "python": "3", "torch": "2", "commit": "123", "data_hash": "text",
        "codes_hash": run.inputs["codes"].address if coded else None, **values,
    }  # fmt: skip
    (place / "measurement.json").write_text(json.dumps(found))
    curve = pd.DataFrame({"epoch": [1, 2], "valid_ppl": [200.0, found["valid_ppl"]]})
    curve.to_csv(place / "curve.csv", index=False)
    return place / "measurement.json"


def clustering_curves() -> pd.DataFrame:
    """Curves of Figure 3 (a, b) that agree with the paper."""
    rows = []
    for seed in (1, 2):
        for arm, loss, nmi in (("ste+schedule", 0.2, 0.98), ("ste+constant", 0.9, 0.9),
                               ("soft+schedule", 0.8, 0.7)):  # fmt: skip
            changed = 0.01 if arm == "ste+schedule" else 0.1
            losses = [10.0, 0.1, loss] if arm == "soft+schedule" else [10.0, 1.0, loss]
            for step, value in enumerate(losses, 1):
                rows.append((arm, seed, 50 * step, 1.0, value, nmi * step / 3, changed))
        rows.append(("k-means", seed, None, None, 0.1, 1.0, None))
    columns = ["arm", "seed", "iteration", "temperature", "loss", "nmi", "changed"]
    return pd.DataFrame(rows, columns=columns)


def word_files(folder: Path) -> tuple[Path, Path, Path]:
    """Vectors, codes and decoder of 40 words, those with one code alike; odd words among them."""
    generator = torch.Generator().manual_seed(1)
    codes = torch.arange(40)[:, None] // 8 % torch.tensor([2, 3, 4])
    books = torch.randn(3, 4, 8, generator=generator)
    vectors = sum(books[j, codes[:, j]] for j in range(3))
    vectors = vectors + 0.1 * torch.randn(40, 8, generator=generator)
    words = ["<unk>", "*star*", "`tick`", "a|b", "$", "x_y", *(f"word{i}" for i in range(34))]
    settings = TRANSFORMS.parse({"kind": "linear"})
    decoder = settings.module.build(settings, 4, 3, 8)
    paths = tuple(folder / f"{name}.safetensors" for name in ("vectors", "codes", "decoder"))
    WordVectors(tuple(words), vectors).save(paths[0])
    Codes(codes, 4).save(paths[1])
    save_decoder(paths[2], decoder)
    return paths


def lost(experiment: Experiment, folder: Path) -> list[Path]:
    """Measurements of compressed word vectors; rounding has no size as small as the last."""
    paths = []
    for run in experiment.reconstructions("words"):
        paths.append(folder / "reconstructions" / run.address / "measurement.json")
        paths[-1].parent.mkdir(parents=True)
        ratio = run.settings["ratio"]
        values = {"ratio": ratio, "bits_per_word": 256 / ratio, "error": 0.01 * ratio,
                  "cosine": 0.9, "worst_cosine": 0.5, "overlap": 0.6, "chosen": "some form",
                  "seconds": 1.0}  # fmt: skip
        none = {"chosen": "none: too small"}
        impossible = run.settings["form"] == "rounding" and ratio == 16
        paths[-1].write_text(json.dumps(none if impossible else values))
    return paths


def make_results(experiment: Experiment, folder: Path, runs: list[Run]) -> Path:
    """A folder of results from measurements of some runs, without figures."""
    results = folder / "results"
    results.mkdir(parents=True)
    paths = [measure(folder / "runs", run) for run in runs]
    measured = read_measurements(experiment, paths)
    measured.to_csv(results / "measurements.csv", index=False)
    for name in experiment.preset.tables:
        tables.build(experiment, name, measured, PRINTED).to_csv(
            results / f"{name}.csv", index=False
        )
    for name in experiment.preset.sweeps:
        found = sweeps.build(experiment, name, measured)
        found.to_csv(results / f"{name}_sweep.csv", index=False)
    clustering_curves().to_csv(results / "figure3_clustering.csv", index=False)
    vectors, codes, _ = word_files(folder)
    words, learned = WordVectors.load(vectors), Codes.load(codes)
    table2.listing(words, learned).to_csv(results / "table2.csv", index=False)
    table2.similarity(words, learned).to_csv(results / "table2_similarity.csv", index=False)
    reconstruction.table(experiment, lost(experiment, folder) if runs else []).to_csv(
        results / "reconstruction.csv", index=False
    )
    judged = claims.judge(experiment, results, sizes())
    claims.as_frame(judged).to_csv(results / "claims.csv", index=False)
    return results
