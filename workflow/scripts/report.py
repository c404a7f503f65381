"""One HTML page with everything a preset measured; opens without network."""

import base64
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import _script
import jinja2
import numpy as np
import pandas as pd
import typer
from ablations import models as sizes_of_variants
from table1 import label, note

from kdcore.files import read_json, sha256, write_text
from kdlab.grammar import floor_perplexity
from kdlab.preset import load_preset

FIGURES = ("table1", "curves", "figure1", "figure2", "figure3", "code_space", "run_times")
PACKAGES = ("torch", "numpy", "scikit-learn", "pandas", "matplotlib", "snakemake", "dvc")


def main(
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    results: Annotated[Path, typer.Option(help="folder of tables and figures")],
    template: Annotated[Path, typer.Option(help="the page's template")],
    report: Annotated[Path, typer.Option(help="output: the page")],
    vectors: Annotated[Path | None, typer.Option(help="word vectors of Table 2")] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    preset = load_preset(read_json(settings))
    shown = _papers_tables(results) if preset.table1 else {}
    if preset.ablations:
        shown["ablations"] = _records(pd.read_csv(results / "ablations.csv"), 2)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        preset=preset,
        note=note,
        sizes_of_variants=sizes_of_variants,
        settings=settings.read_text(encoding="utf-8"),
        models=shown.get("measurements") or shown.get("ablations"),
        vectors_hash=sha256(vectors)[:16] if vectors else "",
        floor=floor_perplexity() if preset.corpus.kind == "generated" else None,
        versions={"Python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        **shown,
    )
    write_text(report, page)
    _script.log.info("report: %s", report)


def _papers_tables(results: Path) -> dict:
    """What the template shows of the paper's tables and figures, by name."""
    measured = pd.read_csv(results / "measurements.csv")
    return {
        "table1": _table1(pd.read_csv(results / "table1.csv")),
        "figures": {name: _embedded(results / f"{name}.png") for name in FIGURES},
        "table2": _table2(results / "table2.md"),
        "similarity": _records(pd.read_csv(results / "table2_similarity.csv"), 3),
        "neighbours": _records(pd.read_csv(results / "neighbours.csv", keep_default_na=False), 0),
        "claims": _records(pd.read_csv(results / "claims.csv", dtype={"holds": "object"}), 3),
        "run_times": _records(pd.read_csv(results / "run_times_total.csv"), 2),
        "code_health": _records(_code_health(measured), 3),
        "measurements": _records(measured, 2),
        "columns": list(measured.columns),
    }


def _records(frame: pd.DataFrame, digits: int) -> list[dict]:
    def shown(value) -> str:
        if pd.isna(value):
            return ""
        if isinstance(value, float):
            small = 0 < abs(value) < 1
            return f"{value:.4g}" if small else f"{value:.{digits}f}".rstrip("0").rstrip(".")
        return str(value)

    return [{k: shown(v) for k, v in row.items()} for row in frame.to_dict("records")]


def _table1(frame: pd.DataFrame) -> list[tuple[str, list[dict]]]:
    sizes = []
    for size, part in frame.groupby("size", sort=False):
        rows = _records(part, 4)
        for row, (_, values) in zip(rows, part.iterrows(), strict=True):
            row["row"] = label(values["codes"], values["transform"])
            difference = values["test_ppl_mean"] - values["paper_ppl"]
            row["difference"] = "" if pd.isna(difference) else f"{difference:+.2f}"
            for name in ("test_ppl_mean", "test_ppl_std", "paper_ppl"):
                row[name] = "" if pd.isna(values[name]) else f"{values[name]:.2f}"
            for name in ("embedding_params", "paper_embedding_params"):
                row[name] = "" if pd.isna(values[name]) else f"{values[name]:,.0f}"
        sizes.append((size, rows))
    return sizes


def _code_health(measured: pd.DataFrame) -> pd.DataFrame:
    """How well the codes in use spread over what they could be, mean over seeds."""
    coded = measured[measured["codes"] != "none"].copy()
    coded["share"] = coded["code_entropy"] / np.log2(coded["K"])
    codes = coded.drop_duplicates(["size", "codes", "K", "D", "seed"])
    keys = ["size", "codes", "K", "D"]
    health = codes.groupby(keys, sort=False)[["unique_codes", "code_entropy", "share"]].mean()
    return health.reset_index().astype({"K": int, "D": int})


def _table2(path: Path) -> dict:
    caption, *rest = path.read_text(encoding="utf-8").splitlines()
    rows = [re.split(r"(?<!\\)\|", line)[1:3] for line in rest if line.startswith("| ")][2:]
    return {"caption": caption, "rows": [[c.strip().replace("\\|", "|") for c in r] for r in rows]}


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


if __name__ == "__main__":
    _script.run(main)
