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
from kdcore.vectors import WordVectors
from kdlab import drawing, sweeps, table2, tables
from kdlab.claims import needs as claims_need
from kdlab.claims import verdict
from kdlab.corpus import SPLITS, UNK, Corpus
from kdlab.experiment import Experiment
from kdlab.figures import FigureSettings

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
    if preset.reconstructions:
        names.append("reconstruction.csv")
    names += [f"{name}.csv" for name in preset.tables]
    names += [f"{name}_sweep.csv" for name in preset.sweeps]
    for name, settings in preset.figures.items():
        names += [f"{name}.png", *settings.table_files]
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
        digits: after the point, of numbers that are not below 1 in columns that are not whole.
        headings: what columns are called, and which are shown.
    """
    called = dict(headings or {name: name for name in frame.columns})
    kept = [name for name in called if not len(frame) or frame[name].notna().any()]
    numbers = [pd.api.types.is_numeric_dtype(frame[name]) for name in kept]
    columns = [
        _shown_numbers(frame[name], digits) if number else _shown_text(frame[name])
        for name, number in zip(kept, numbers, strict=True)
    ]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Grid([called[name] for name in kept], rows, numbers)


def _shown_text(column: pd.Series) -> list[str]:
    return ["" if pd.isna(value) else str(value) for value in column]


def _shown_numbers(column: pd.Series, digits: int) -> list[str]:
    values = [None if pd.isna(value) else float(value) for value in column]
    digits = 0 if all(value is None or value.is_integer() for value in values) else digits
    return ["" if value is None else _shown_number(value, digits) for value in values]


def _shown_number(value: float, digits: int) -> str:
    if digits and 0 < abs(value) < 1:
        return f"{value:.4g}"
    return f"{value:,.{digits}f}"


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
        figures=_figures(experiment, results),
        sweeps=[_sweep(experiment, name, results) for name in preset.sweeps],
        reconstructions=_reconstructions(experiment, results),
        code_health=grid(_code_health(measured), 2, CODE_HEALTH),
        table2=_table2(experiment, results, vectors, codes),
        claims=claims.to_dict("records"),
        measurements=grid(measured, 2, _headings(measured)),
        provenance=_provenance(measured, vectors),
        settings=settings,
    )


def _csv(results: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(results / f"{name}.csv")


def _text(experiment: Experiment, path: Path | None) -> str:
    """What the text is, the share of unknown words in it, and the least perplexity there can be."""
    settings = experiment.preset.text
    if settings is None:
        return ""
    parts = [settings.kind]
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
    if settings.remark:
        parts.append(settings.remark)
    return "; ".join(parts)


def _verdict(experiment: Experiment, results: Path, claims: pd.DataFrame) -> str:
    """One paragraph: what the front table says, and how the claims stand."""
    names = experiment.preset.claims
    parts = []
    if names:
        rows = _csv(results, names.table)
        methods = experiment.preset.methods
        for model, part in rows.groupby("model", sort=False):
            run = part.dropna(subset="test_ppl_mean").set_index("method")
            learned = run[run.index.isin(names.learned)]
            if names.conventional in run.index and len(learned):
                # The settings are chosen on the validation text, as everywhere.
                best = str(learned["valid_ppl_first"].idxmin())
                row, full = run.loc[best], run.loc[names.conventional]
                parts.append(
                    f"With the {model} model {methods[best].label} reaches a test perplexity of "
                    f"{row['test_ppl_mean']:.1f} ({_seeds(row)}) with "
                    f"{100 * row['rate_with_codes']:.1f} % of the embedding's bits; the "
                    f"conventional embedding has {full['test_ppl_mean']:.1f} ({_seeds(full)})."
                )
            elif run.empty:
                parts.append(f"The {model} model has not been run.")
    if len(claims):
        parts.append(verdict([VERDICTS.get(holds) for holds in claims["holds"]]))
    return " ".join(parts)


def _seeds(row: pd.Series) -> str:
    return "one seed" if row["n_seeds"] == 1 else f"mean of {row['n_seeds']} seeds"


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
                "command": tables.command(experiment, f"{name}_{model}")
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


def _figures(experiment: Experiment, results: Path) -> list[dict[str, Any]]:
    """The figures; two of one kind are told apart by their tables, or else by their names."""
    entries = experiment.preset.figures
    found = [_figure(name, settings, results) for name, settings in entries.items()]
    titles = [figure["title"] for figure in found]
    for figure in found:
        if titles.count(figure["title"]) > 1:
            of = getattr(entries[figure["name"]], "tables", None) or []
            called = [experiment.preset.tables[name].title.partition(".")[0] for name in of]
            figure["title"] += f" ({', '.join(called) or figure['name']})"
    return found


def _figure(name: str, settings: FigureSettings, results: Path) -> dict[str, Any]:
    title, caption = drawing.title(settings), drawing.caption(settings)
    picture = (results / f"{name}.png").read_bytes()
    return {
        "name": name,
        "title": title,
        "caption": caption.removeprefix(title).removeprefix(".").strip(),
        "data": "data:image/png;base64," + base64.b64encode(picture).decode(),
        "width": round(SCALE * int.from_bytes(picture[16:20], "big")),
    }


def _sweep(experiment: Experiment, name: str, results: Path) -> dict[str, Any]:
    """For each varied setting its values and the perplexity, over seeds where there are several."""
    sweep = experiment.preset.sweeps[name]
    called = sweeps.columns_of(sweep)
    points = _csv(results, f"{name}_sweep")
    held = experiment.held(name)
    parts = []
    for path, column in called.items():
        here = points[points["swept"] == column].groupby(column)["test_ppl"]
        by_value = here.agg(["mean", "std", "count"]).reset_index()
        headings = {column: column, "mean": "test PPL", "std": "± std", "count": "seeds"}
        others = [f"{called[p]} = {value}" for p, value in held.items() if p != path]
        note = _capital(f"{column} varied") + "".join(f", {other}" for other in others)
        parts.append({"note": note, "grid": grid(by_value, 2, headings)})
    return {
        "name": name,
        "title": _capital(
            f"{' and '.join(called.values())} varied; all else as "
            f"{experiment.preset.methods[sweep.method].label}, {sweep.model} model"
        ),
        "parts": parts if len(points) else [],
        "command": tables.command(experiment, name),
    }


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


RECONSTRUCTION = {
    "form": "form", "asked_ratio": "asked", "ratio": "times smaller",
    "bits_per_word": "bits a word", "error": "error", "cosine": "cosine",
    "worst_cosine": "worst cosine", "overlap": "neighbours that stay",
    "similarity": "similarity", "chosen": "what it is",
}  # fmt: skip


def _reconstructions(experiment: Experiment, results: Path) -> list[dict[str, Any]]:
    """For each table of word vectors its forms and sizes; no rows where nothing was run."""
    preset = experiment.preset
    if not preset.reconstructions:
        return []
    rows = _csv(results, "reconstruction")
    rows["chosen"] = rows["chosen"].map(lambda told: told.partition(":")[0], na_action="ignore")
    found = []
    for name, table in preset.reconstructions.items():
        here = rows[(rows["table"] == name) & rows["chosen"].notna()]
        headings = {column: head for column, head in RECONSTRUCTION.items() if column in here}
        before = here["similarity_before"].dropna().unique() if "similarity" in here else []
        found.append(
            {
                "name": name,
                "title": f"{table.title} in every form and size",
                "note": "".join(f" Similarity before: {value:.3f}." for value in before),
                "grid": grid(here, 2, headings),
                "command": tables.command(
                    experiment, f"results/{experiment.name}/reconstruction.csv"
                ),
            }
        )
    return found


CODE_HEALTH = {
    "model": "Model", "label": "Method", "K": "K", "D": "D", "unique_codes": "distinct codes",
    "code_entropy": "bits a position", "share": "% of log₂ K",
}  # fmt: skip


def _code_health(measured: pd.DataFrame) -> pd.DataFrame:
    """How well the codes in use spread over what they could be, mean over seeds.

    Codes that several methods share are there once, under the first one's name.
    """
    coded = measured[measured["K"].notna()].copy()
    coded["share"] = 100 * coded["code_entropy"] / np.log2(coded["K"].astype(float))
    coded = coded.drop_duplicates(["model", "codes_hash"])
    keys = ["model", "label", "K", "D"]
    health = coded.groupby(keys, sort=False)[["unique_codes", "code_entropy", "share"]].mean()
    health["unique_codes"] = health["unique_codes"].round()
    return health.reset_index().astype({"K": int, "D": int})


HEADINGS = {
    "label": "method", "test_ppl": "test PPL", "valid_ppl": "valid PPL", "train_ppl": "train PPL",
    "embedding_params": "E. size", "bits": "E. bits", "rate": "C. rate",
    "rate_with_codes": "with codes", "model_params": "model size", "unique_codes": "distinct codes",
    "code_entropy": "bits a position", "wall_seconds": "time, s", "tokens_per_second": "tokens/s",
}  # fmt: skip


def _headings(measured: pd.DataFrame) -> dict[str, str]:
    """What the columns of the measurements are called; a method goes by its label."""
    names = [name for name in measured.columns if name != "method"]
    return {name: HEADINGS.get(name, name.replace("_", " ")) for name in names}


def _table2(
    experiment: Experiment, results: Path, vectors: Path | None, codes: Path | None
) -> dict[str, Any] | None:
    if experiment.preset.table2 is None or vectors is None or codes is None:
        return None
    words, learned = WordVectors.load(vectors), Codes.load(codes)
    found: dict[str, Any] = {
        "caption": table2.caption(words, learned, table2.source(experiment)).replace("`", ""),
        "rows": [
            (code, " ".join(members), f" (+{more})" if more else "")
            for code, members, more in table2.shown(words, learned)
        ],
        "similarity": _similarity(_csv(results, "table2_similarity")),
        "neighbours": None,
    }
    neighbours = results / "neighbours.csv"
    if neighbours.is_file():
        found["neighbours"] = pd.read_csv(neighbours, keep_default_na=False).to_dict("records")
    return found


def _similarity(measured: pd.DataFrame) -> Grid:
    """The measures in rows, codes in columns: learned, and random."""
    kinds = list(measured["codes"].unique())
    rows = []
    for (measure, shared), here in measured.groupby(
        ["measure", "shared_positions"], sort=False, dropna=False
    ):
        of = "" if pd.isna(shared) else f", {shared:.0f} positions shared"
        value = here.set_index("codes")["value"]
        rows.append([f"{measure}{of}", *(f"{value[kind]:.3f}" for kind in kinds)])
    return Grid(
        ["measure", *(f"{kind} codes" for kind in kinds)], rows, [False, *[True] * len(kinds)]
    )


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
