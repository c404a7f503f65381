"""One HTML page with everything a preset measured; opens without network."""

import base64
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import torch

from kdcore.codes import Codes
from kdcore.files import sha256
from kdcore.kinds import KindSettings
from kdcore.vectors import WordVectors
from kdlab import figures, table2, tables
from kdlab.claims import needs as claims_need
from kdlab.claims import verdict
from kdlab.corpus import SPLITS, UNK, Corpus
from kdlab.experiment import Experiment

# Width of a figure on the page, of its pixels: letters are as large in all of them.
SCALE = 0.64
VERDICTS = {"True": True, "False": False}
PACKAGES = ("torch", "numpy", "scikit-learn", "pandas", "matplotlib", "snakemake", "dvc")


def needs(experiment: Experiment) -> list[str]:
    """The files of results that the page shows."""
    preset = experiment.preset
    names = ["measurements.csv"]
    if preset.claims:
        names += ["claims.csv", *claims_need(experiment)]
    if preset.table2:
        names += ["table2.csv", "table2_similarity.csv"]
    names += [f"{name}.csv" for name in preset.tables]
    names += [f"{name}_sweep.csv" for name in preset.sweeps]
    for name, settings in preset.figures.items():
        names += [f"{name}.png", *getattr(settings.module, "TABLES", ())]
    return list(dict.fromkeys(names))


@dataclass(frozen=True)
class Grid:
    """A table of the page: headings, rows of text, and which columns are numbers."""

    headings: list[str]
    rows: list[list[str]]
    numbers: list[bool]


def grid(frame: pd.DataFrame, digits: int, headings: Mapping[str, str] | None = None) -> Grid:
    """A table as text, without columns that are empty.

    Args:
        digits: after the point, of numbers that are not below 1.
        headings: what columns are called, and which are shown.
    """
    called = dict(headings or {name: name for name in frame.columns})
    kept = [name for name in called if not len(frame) or frame[name].notna().any()]
    numbers = [pd.api.types.is_numeric_dtype(frame[name]) for name in kept]
    rows = [
        [_shown(value, digits) for value in row]
        for row in frame[kept].astype(object).itertuples(index=False)
    ]
    return Grid([called[name] for name in kept], rows, numbers)


def _shown(value: Any, digits: int) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, float):
        small = 0 < abs(value) < 1
        return f"{value:.4g}" if small else f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return str(value)


def render(
    experiment: Experiment,
    results: Path,
    template: str,
    settings: str,
    vectors: Path | None = None,
    codes: Path | None = None,
    text: Path | None = None,
) -> str:
    """The page.

    Args:
        results: folder with the files that `needs` names.
        template: of the page, Jinja.
        settings: the preset as JSON text, shown at the end.
        vectors, codes: of Table 2.
        text: the corpus file, for the share of unknown words.
    """
    preset = experiment.preset
    measured = pd.read_csv(results / "measurements.csv", dtype={"commit": str})
    claims = pd.DataFrame(columns=["claim", "paper", "measured", "holds", "evidence"])
    if preset.claims:
        claims = pd.read_csv(results / "claims.csv", dtype=str, keep_default_na=False)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(
        experiment=experiment,
        preset=preset,
        text=_text(experiment, text),
        measured=measured,
        verdict=_verdict(experiment, results, claims),
        tables=[_table(experiment, name, results, measured) for name in preset.tables],
        figures=[_figure(name, settings, results) for name, settings in preset.figures.items()],
        sweeps={name: grid(_csv(results, f"{name}_sweep"), 2) for name in preset.sweeps},
        code_health=grid(_code_health(measured), 3, CODE_HEALTH),
        table2=_table2(experiment, results, vectors, codes),
        claims=claims.to_dict("records"),
        measurements=grid(measured, 2),
        provenance=_provenance(measured, vectors),
        settings=settings,
    )


def _csv(results: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(results / f"{name}.csv")


def _text(experiment: Experiment, path: Path | None) -> str:
    """What the text is, the share of unknown words in it, and the least perplexity there can be."""
    parts = [experiment.preset.text.kind]
    if path is not None:
        corpus = Corpus.load(path)
        splits = {split: getattr(corpus, split) for split in SPLITS}
        sizes = ", ".join(f"{len(tokens):,} {split}" for split, tokens in splits.items())
        parts.append(f"{sizes} tokens; {len(corpus.words):,} words")
        if UNK in corpus.words:
            unknown = torch.cat(list(splits.values())) == corpus.words.index(UNK)
            parts.append(f"{100 * float(unknown.double().mean()):.1f} % of the tokens are {UNK}")
    floor = tables.least_perplexity(experiment)
    if floor is not None:
        parts.append(
            f"no model can have a perplexity below {floor:.2f}, the entropy of its grammar"
        )
    return "; ".join(parts)


def _verdict(experiment: Experiment, results: Path, claims: pd.DataFrame) -> str:
    """One paragraph: what the front table says, and how the claims stand."""
    names = experiment.preset.claims
    parts = []
    if names:
        rows = _csv(results, names.table)
        methods = experiment.preset.methods
        for model, part in rows.groupby("model", sort=False):
            by_method = part.set_index("method")["test_ppl_mean"].dropna()
            learned = by_method[by_method.index.isin(names.learned)]
            if names.conventional in by_method and len(learned):
                best = str(learned.idxmin())
                row = part.set_index("method").loc[best]
                parts.append(
                    f"With the {model} model {methods[best].label} reaches a test perplexity of "
                    f"{learned.min():.1f} with {100 * row['rate_with_codes']:.1f} % of the "
                    "embedding's bits; the conventional embedding has "
                    f"{by_method[names.conventional]:.1f}."
                )
    if len(claims):
        parts.append(verdict([VERDICTS.get(holds) for holds in claims["holds"]]))
    return " ".join(parts)


def _table(
    experiment: Experiment, name: str, results: Path, measured: pd.DataFrame
) -> dict[str, Any]:
    table = experiment.preset.tables[name]
    rows = _csv(results, name).astype({"n_seeds": "Int64"})
    precisions = tables.precisions_of(experiment, name, measured)
    models = []
    for model, part in rows.groupby("model", sort=False):
        titles = tables.headings(part, table.score)
        text = [tables.cells(row, table.score) for row in part.to_dict("records")]
        models.append(
            {
                "name": model,
                "note": tables.note(experiment, str(model), precisions[str(model)]),
                "headings": list(titles.values()),
                "rows": [[cells[cell] for cell in titles] for cells in text],
                "command": tables.command(experiment, name, str(model))
                if (part["n_seeds"] == 0).any()
                else "",
            }
        )
    return {
        "name": name,
        "title": table.title.removesuffix("."),
        "explanation": tables.explanation(experiment, name),
        "models": models,
    }


def _figure(name: str, settings: KindSettings, results: Path) -> dict[str, Any]:
    title, caption = figures.title(settings), figures.caption(settings)
    picture = (results / f"{name}.png").read_bytes()
    return {
        "name": name,
        "title": title,
        "caption": caption.removeprefix(title).removeprefix(".").strip(),
        "data": "data:image/png;base64," + base64.b64encode(picture).decode(),
        "width": round(SCALE * int.from_bytes(picture[16:20], "big")),
    }


CODE_HEALTH = {
    "model": "Model", "method": "Method", "K": "K", "D": "D", "unique_codes": "distinct codes",
    "code_entropy": "bits a position", "share": "of log₂ K",
}  # fmt: skip


def _code_health(measured: pd.DataFrame) -> pd.DataFrame:
    """How well the codes in use spread over what they could be, mean over seeds.

    Codes that several methods share are there once, under the first one's name.
    """
    coded = measured[measured["K"].notna()].copy()
    coded["share"] = coded["code_entropy"] / np.log2(coded["K"].astype(float))
    coded = coded.drop_duplicates(["model", "codes_hash"])
    keys = ["model", "method", "K", "D"]
    health = coded.groupby(keys, sort=False)[["unique_codes", "code_entropy", "share"]].mean()
    return health.reset_index().astype({"K": int, "D": int})


def _table2(
    experiment: Experiment, results: Path, vectors: Path | None, codes: Path | None
) -> dict[str, Any] | None:
    if experiment.preset.table2 is None or vectors is None or codes is None:
        return None
    words, learned = WordVectors.load(vectors), Codes.load(codes)
    headings = {
        "codes": "Codes", "measure": "Measure", "shared_positions": "shared positions",
        "value": "value",
    }  # fmt: skip
    similarity = _csv(results, "table2_similarity").astype({"shared_positions": "Int64"})
    found: dict[str, Any] = {
        "caption": table2.caption(words, learned, table2.source(experiment)),
        "rows": [
            (code, " ".join(members), f" (+{more})" if more else "")
            for code, members, more in table2.shown(words, learned)
        ],
        "similarity": grid(similarity, 3, headings),
        "neighbours": None,
    }
    neighbours = results / "neighbours.csv"
    if neighbours.is_file():
        found["neighbours"] = pd.read_csv(neighbours, keep_default_na=False).to_dict("records")
    return found


def _provenance(measured: pd.DataFrame, vectors: Path | None) -> list[tuple[str, str]]:
    """What the measurements were made with, and this page."""
    names = {
        "commit": "Commits", "device": "Devices", "processor": "Processors", "blas": "BLAS",
        "precision": "Precisions", "torch": "PyTorch", "python": "Python", "data_hash": "Text",
    }  # fmt: skip
    found = [("Trained models", str(len(measured)))]
    for column, name in names.items():
        values = measured[column].dropna().astype(str).unique()
        if len(values):
            found.append((name, ", ".join(values)))
    if vectors is not None:
        found.append(("Word vectors of Table 2", sha256(vectors)[:16]))
    here = {"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    made = ", ".join(f"{name} {number}" for name, number in here.items())
    return [*found, ("This page was made with", made)]
