"""Table 1: test perplexity, embedding size and compression rate, beside the paper's."""

import re
from pathlib import Path
from typing import Annotated

import _script
import pandas as pd
import typer
import yaml

from kdcore.files import read_json, write_json, write_text
from kdcore.settings.codes import KDEmbeddingSettings
from kdlab.preset import TRANSFORMS, Preset, load_preset

COLUMNS = [
    "size", "codes", "transform", "n_seeds", "test_ppl_mean", "test_ppl_std", "valid_ppl_mean",
    "embedding_params", "rate", "rate_with_codes", "paper_ppl", "paper_embedding_params",
    "paper_rate",
]  # fmt: skip
NAMES = {"none": "Conventional", "random": "Random", "linear": "Linear", "lstm": "LSTM",
         "refined": "Refined", "linear_dropout": "Linear, dropout",
         "lstm_dropout": "LSTM, dropout"}  # fmt: skip


def main(
    measurements: Annotated[Path, typer.Option(help="table of all trained models")],
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    paper: Annotated[Path, typer.Option(help="the paper's numbers")],
    table: Annotated[Path, typer.Option(help="output: csv")],
    markdown: Annotated[Path, typer.Option(help="output: Markdown")],
    latex: Annotated[Path, typer.Option(help="output: LaTeX")],
    metrics: Annotated[Path, typer.Option(help="output: JSON, by size and row")],
    size: Annotated[list[str] | None, typer.Option(help="only these model sizes")] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    preset = load_preset(read_json(settings))
    printed = yaml.safe_load(paper.read_text(encoding="utf-8"))["table1"]
    sizes = size or preset.table1.sizes
    printed = printed if preset.beside_paper else {}
    rows = build(preset, sizes, pd.read_csv(measurements), printed)
    whole = {name: "Int64" for name in ("n_seeds", "embedding_params", "paper_embedding_params")}
    write_text(table, rows.astype(whole).to_csv(index=False))
    write_text(markdown, as_markdown(rows, preset))
    write_text(latex, as_latex(rows, preset))
    write_json(metrics, as_metrics(rows))


def build(preset: Preset, sizes: list[str], measured: pd.DataFrame, printed: dict) -> pd.DataFrame:
    """One row per cell; what was not run or not printed is empty."""
    rows = []
    for size in sizes:
        for row in preset.table1.rows_of(size):
            here = measured[
                (measured["size"] == size)
                & (measured["codes"] == row.codes)
                & (measured["transform"] == row.transform)
                & (measured["seed"] <= row.seeds)
            ]
            if row.codes != "none":
                here = here[(here["K"] == preset.table1.K) & (here["D"] == preset.table1.D)]
            result = {"size": size, "codes": row.codes, "transform": row.transform}
            result["n_seeds"] = len(here)
            if len(here):
                first = here.iloc[0]
                result |= {
                    "test_ppl_mean": round(here["test_ppl"].mean(), 4),
                    "valid_ppl_mean": round(here["valid_ppl"].mean(), 4),
                    "embedding_params": first["embedding_params"],
                    "rate": first["rate"],
                    "rate_with_codes": first["rate_with_codes"],
                }
            if len(here) > 1:
                result["test_ppl_std"] = round(here["test_ppl"].std(ddof=1), 4)
            if number := printed.get(size, {}).get(f"{row.codes}+{row.transform}"):
                result |= {
                    "paper_ppl": number["ppl"],
                    "paper_embedding_params": number["params"],
                    "paper_rate": number["rate"],
                }
            rows.append(result)
    return pd.DataFrame(rows, columns=COLUMNS)


def label(codes: str, transform: str) -> str:
    """The paper's name of a row."""
    return NAMES[codes] if codes == "none" else f"{NAMES[codes]} + {NAMES[transform]}"


def _cell(row: pd.Series) -> dict[str, str]:
    def number(value, form: str) -> str:
        return "" if pd.isna(value) else format(value, form)

    ppl = number(row.test_ppl_mean, ".2f") or "not run"
    if not pd.isna(row.test_ppl_std):
        ppl += f" ± {row.test_ppl_std:.2f}"
    return {
        "row": label(row["codes"], row["transform"]),
        "ppl": ppl,
        "seeds": str(row.n_seeds) if row.n_seeds else "",
        "paper": number(row.paper_ppl, ".2f"),
        "params": number(row.embedding_params, ",.0f"),
        "paper_params": number(row.paper_embedding_params, ",.0f"),
        "rate": number(row.rate, ".4g"),
        "paper_rate": number(row.paper_rate, "g"),
        "full_rate": number(row.rate_with_codes, ".4g"),
    }


PAPER = ("paper", "paper_params", "paper_rate")
HEADINGS = {
    "row": "", "ppl": "Test PPL", "paper": "paper", "seeds": "seeds", "params": "E. size",
    "paper_params": "paper", "rate": "C. rate", "paper_rate": "paper",
    "full_rate": "with codes",
}  # fmt: skip


def _columns(preset: Preset) -> dict[str, str]:
    return {k: v for k, v in HEADINGS.items() if preset.beside_paper or k not in PAPER}


METRICS = {
    "test_ppl": "test_ppl_mean",
    "valid_ppl": "valid_ppl_mean",
    "size": "embedding_params",
    "rate": "rate_with_codes",
}


def as_metrics(rows: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """What `dvc metrics` and `dvc exp show` compare; a row that was not run is absent."""
    metrics = {}
    for _, row in rows[rows["n_seeds"] > 0].iterrows():
        name = label(row["codes"], row["transform"]).replace(" ", "").lower()
        values = {key: row[column] for key, column in METRICS.items() if pd.notna(row[column])}
        metrics.setdefault(row["size"], {})[name] = {k: float(v) for k, v in values.items()}
    return metrics


def as_markdown(rows: pd.DataFrame, preset: Preset) -> str:
    """One table per size."""
    headings = _columns(preset)
    cell = preset.kd_embedding.lstm.cell
    lines = ["Table 1. Test perplexity (mean ± standard deviation over seeds), trained numbers of",
             "the input embedding, and compression rate: the paper's count, and with the codes'",
             "own bits. LSTM transform: the cell "
             + ("whose size is the paper's." if cell == "counted" else "as printed.")]  # fmt: skip
    for size, part in rows.groupby("size", sort=False):
        told = note(preset, size)
        lines += ["", f"**{size}**" + (f" ({told})" if told else ""), ""]
        lines.append("| " + " | ".join(headings.values()) + " |")
        lines.append("| --- |" + " ---: |" * (len(headings) - 1))
        for _, row in part.iterrows():
            cells = _cell(row)
            lines.append("| " + " | ".join(cells[name] for name in headings) + " |")
        if (part["n_seeds"] == 0).any():
            lines += ["", f"Not run; what fills these cells: `{command(preset, size)}`"]
    return "\n".join(lines) + "\n"


def words_left_out(preset: Preset, size: str) -> str:
    """How many words a model size leaves out, if any."""
    share = preset.sizes[size].word_dropout
    return f"{100 * share:g} % of the words left out of the input in training" if share else ""


def note(preset: Preset, size: str) -> str:
    """What is particular to a model size and to its rows beyond the paper."""
    told = [words_left_out(preset, size)] if words_left_out(preset, size) else []
    embedding = preset.kd_embedding
    for name in dict.fromkeys(row.transform for row in preset.table1.rows_of(size)):
        if name == "none":
            continue
        here, kind = embedding.of(size, name), TRANSFORMS[name]
        transform = f"{'LSTM' if kind == 'lstm' else kind} transform"
        if name != kind:
            others, called = embedding.of(size, kind), f"{NAMES[name]}: the {transform}"
        else:
            others, called = getattr(embedding, name), transform
            others = others.model_copy(update={"dropout": 0.0})
        if what := differences(here, others):
            told.append(f"{called} with {', '.join(what)}")
    return "; ".join(told)


def differences(here: KDEmbeddingSettings, others: KDEmbeddingSettings) -> list[str]:
    """What one KD embedding has otherwise than another."""
    values = others.model_dump()
    return [
        f"{name} {value:g} in place of {values[name]:g}"
        if isinstance(value, float)
        else f"another {name}"
        for name, value in here.model_dump().items()
        if value != values[name]
    ]


def command(preset: Preset, size: str) -> str:
    """What trains the models of a size."""
    chosen = "" if preset.preset == "paper" else f"--configfile config/{preset.preset}.yaml -- "
    return f"snakemake --cores 8 {chosen}table1_{size}"


def as_latex(rows: pd.DataFrame, preset: Preset) -> str:
    """A booktabs table."""
    headings = _columns(preset)
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{l" + "r" * (len(headings) - 1) + "}",
    ]
    for size, part in rows.groupby("size", sort=False):
        lines += [r"\toprule", rf"{_tex(size.capitalize())} model & " + " & ".join(
            list(headings.values())[1:]) + r" \\", r"\midrule"]  # fmt: skip
        if told := note(preset, size):
            told = rf"\footnotesize {_tex(told[0].upper() + told[1:])}."
            lines.append(rf"\multicolumn{{{len(headings)}}}{{p{{0.95\linewidth}}}}{{{told}}} \\")
        for _, row in part.iterrows():
            cells = _cell(row)
            text = " & ".join(cells[name] for name in headings)
            lines.append(text.replace("±", r"$\pm$") + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _tex(text: str) -> str:
    return re.sub(r"([%_&#])", r"\\\1", text)


if __name__ == "__main__":
    _script.run(main)
