"""Tables of methods by language models: perplexity, size and rate, beside the paper's."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from kdcore.errors import KDError
from kdcore.kinds import unknown
from kdlab.experiment import Experiment
from kdlab.measurements import of_runs
from kdlab.preset import Table

COLUMNS = [
    "model", "method", "label", "n_seeds", "test_ppl_mean", "test_ppl_std", "valid_ppl_mean",
    "embedding_params", "bits", "rate", "rate_with_codes", "paper_ppl", "paper_embedding_params",
    "paper_rate", "valid_ppl_first",
]  # fmt: skip
# The preset that is taken where no other is named.
DEFAULT_PRESET = "paper"


def build(
    experiment: Experiment,
    name: str,
    measured: pd.DataFrame,
    printed: Mapping[str, Mapping[str, Mapping[str, float]]],
    models: list[str] | None = None,
) -> pd.DataFrame:
    """One row for each row of a table's models; what was not run or not printed is empty.

    Args:
        name: of the table.
        measured: as `read_measurements` gives it.
        printed: the paper's `ppl`, `params` and `rate`, by the paper's model and by method.
        models: these instead of the table's own.

    Returns:
        A table with `COLUMNS`; `valid_ppl_first` is that of the first seed, which every row has.
        A table that is judged on validation perplexity has no test perplexity.

    Raises:
        KDError: the table stands beside a model that the paper has not, or has no row of a model.
    """
    table = experiment.preset.tables[name]
    for model in models or []:
        if not table.rows_of(model):
            raise KDError(f"tables.{name} has no row of the model {model!r}")
    rows = []
    for model in models or table.models:
        numbers = of_paper(name, table, model, printed)
        for row in table.rows_of(model):
            here = of_runs(measured, experiment.row(model, row))
            label = experiment.preset.methods[row.method].label
            found = {"model": model, "method": row.method, "label": label, **_summary(here, table)}
            if number := numbers.get(row.method):
                found |= {
                    "paper_ppl": number["ppl"],
                    "paper_embedding_params": number["params"],
                    "paper_rate": number["rate"],
                }
            rows.append(found)
    whole = ("n_seeds", "embedding_params", "bits", "paper_embedding_params")
    return pd.DataFrame(rows, columns=COLUMNS).astype({name: "Int64" for name in whole})


def of_paper(name: str, table: Table, model: str, printed: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the paper prints of the model beside which a model of a table stands, by method.

    Args:
        name: of the table.
        printed: as in `build`.

    Raises:
        KDError: the paper has no such model.
    """
    if model not in table.paper:
        return {}
    theirs = table.paper[model]
    if theirs not in printed:
        known = list(printed)
        raise KDError(f"tables.{name}.paper.{model}: " + unknown("paper's model", theirs, known))
    numbers: Mapping[str, Any] = printed[theirs]
    return numbers


def _summary(here: pd.DataFrame, table: Table) -> dict[str, Any]:
    found: dict[str, Any] = {"n_seeds": len(here)}
    if not len(here):
        return found
    first = here.iloc[0]
    found["valid_ppl_mean"] = round(here["valid_ppl"].mean(), 4)
    found["valid_ppl_first"] = round(first["valid_ppl"], 4)
    for column in ("embedding_params", "bits", "rate", "rate_with_codes"):
        found[column] = first[column]
    if table.score == "test":
        found["test_ppl_mean"] = round(here["test_ppl"].mean(), 4)
        if len(here) > 1:
            found["test_ppl_std"] = round(here["test_ppl"].std(ddof=1), 4)
    return found


def conventional_perplexity(
    experiment: Experiment, table: pd.DataFrame, model: str
) -> float | None:
    """Test perplexity of the conventional embedding in a table, its mean over seeds.

    Returns:
        None where it was not run, or the preset does not say which method it is.
    """
    claims = experiment.preset.claims
    if claims is None:
        return None
    here = table[(table["model"] == model) & (table["method"] == claims.conventional)]
    found = here["test_ppl_mean"].dropna()
    return float(found.iloc[0]) if len(found) else None


def metrics(experiment: Experiment, measured: pd.DataFrame) -> dict[str, dict[str, dict]]:
    """What `dvc metrics` and `dvc exp show` compare: perplexity, size and rate of every row.

    Returns:
        By model and by method; a row that was not run is absent.
    """
    found: dict[str, dict[str, dict]] = {}
    for name, table in experiment.preset.tables.items():
        score = f"{table.score}_ppl"
        columns = {score: f"{score}_mean", "size": "embedding_params", "rate": "rate_with_codes"}
        rows = build(experiment, name, measured, {theirs: {} for theirs in table.paper.values()})
        for row in rows[rows["n_seeds"] > 0].to_dict("records"):
            of_model = found.setdefault(row["model"], {})
            values = {
                key: int(row[column]) if key == "size" else float(row[column])
                for key, column in columns.items()
                if pd.notna(row[column])
            }
            of_model.setdefault(row["method"], values)
    return found


# For people to read.


def shapes(experiment: Experiment, methods: list[str]) -> str:
    """K and D of the codes of some methods: `K = 50, D = 10`; empty where they have none."""
    found: dict[str, list[str]] = {}
    for method in methods:
        codes = experiment.preset.methods[method].codes
        if codes is not None:
            settings = experiment.preset.codes_from(codes)[-1]
            sizes = [(name, getattr(settings, name, None)) for name in ("K", "D")]
            text = ", ".join(f"{name} = {size}" for name, size in sizes if size is not None)
            if text:
                found.setdefault(text, []).append(codes)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{', '.join(dict.fromkeys(c))} codes: {text}" for text, c in found.items())


def model_title(experiment: Experiment, model: str) -> str:
    """What figures call a language model, with the words that it drops."""
    dropped = experiment.preset.models[model].word_dropout
    return f"{model} model" + (f", {100 * dropped:g} % of the words dropped" if dropped else "")


def note(experiment: Experiment, model: str, precisions: list[str] | None = None) -> str:
    """What a language model is and how it was trained, and what is particular to it."""
    entry = experiment.preset.models[model]
    size = f"{entry.layers} × {entry.hidden} LSTM"
    schedule = f"{entry.epochs} epochs"
    if entry.full_rate_epochs < entry.epochs:
        then = f"{entry.full_rate_epochs}, then × {entry.decay:.3g} each"
        schedule += f" (learning rate {entry.learning_rate:g} for {then})"
    parts = [size, schedule, *(precisions or [])]
    text = [", ".join(parts)]
    if entry.word_dropout:
        text.append(f"{100 * entry.word_dropout:g} % of the words dropped in training")
    for name, own in entry.embeddings.items():
        common = experiment.preset.embeddings[name].model_dump()
        text.append(f"embedding {name} with " + ", ".join(_differences(own, common)))
    return "; ".join(text)


def _differences(own: Mapping[str, Any], common: Any, prefix: str = "") -> list[str]:
    found = []
    for key, value in own.items():
        before = common.get(key) if isinstance(common, Mapping) else None
        if isinstance(value, Mapping):
            found += _differences(value, before, f"{prefix}{key}.")
        else:
            found.append(f"{prefix}{key} {_plain(value)} in place of {_plain(before)}")
    return found


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) and value is not True else str(value)


def command(experiment: Experiment, target: str) -> str:
    """What makes a target of the Snakefile for this preset."""
    name = experiment.name
    chosen = "" if name == DEFAULT_PRESET else f"--configfile config/{name}.yaml -- "
    return f"snakemake --cores 8 {chosen}{target}"


def explanation(experiment: Experiment, name: str) -> str:
    """What the columns of a table are, for its caption."""
    table = experiment.preset.tables[name]
    perplexity = {
        "test": "Perplexity (PPL, lower is better): mean ± standard deviation over seeds",
        "valid": "Perplexity (PPL, lower is better): mean over seeds, of the validation text",
    }[table.score]
    methods = [row.method for row in table.rows]
    silent = [name for name in methods if "K = " not in experiment.preset.methods[name].label]
    shape = shapes(experiment, silent)
    if shape and len(silent) < len(methods):
        shape = f"Where a row does not say it: {shape}"
    return (
        f"{perplexity}; E. size: trainable parameters of the input embedding; C. rate: E. size "
        "over that of the full table; with codes: bits of all that is stored, the codes too, over "
        "those of the full table in float32." + (f" {shape}." if shape else "")
    )


def headings(rows: pd.DataFrame, score: str) -> dict[str, str]:
    """Headings of the columns that are not empty, by the name of a cell."""
    found = {
        "label": "",
        "ppl": {"test": "Test PPL", "valid": "Valid PPL"}[score],
        "paper": "paper",
        "seeds": "seeds",
        "params": "E. size",
        "paper_params": "paper",
        "rate": "C. rate",
        "paper_rate": "paper",
        "rate_with_codes": "with codes",
    }
    text = [cells(row, score) for row in rows.to_dict("records")]
    shown = {name: head for name, head in found.items() if any(row[name] for row in text)}
    for name, ours in (("paper_params", "params"), ("paper_rate", "rate")):
        if name in shown and ours not in shown:
            # The paper's column says itself what it is of where ours is not beside it.
            shown[name] = f"paper: {found[ours]}"
    return shown


def cells(row: Mapping[str, Any], score: str) -> dict[str, str]:
    """A row as text, by the name of a cell."""

    def number(name: str, form: str) -> str:
        return "" if pd.isna(row[name]) else format(row[name], form)

    ppl = number(f"{score}_ppl_mean", ".2f") or "not run"
    if score == "test" and not pd.isna(row["test_ppl_std"]):
        ppl += f" ± {row['test_ppl_std']:.2f}"
    return {
        "label": row["label"],
        "ppl": ppl,
        "seeds": str(row["n_seeds"]) if row["n_seeds"] else "",
        "paper": number("paper_ppl", ".2f"),
        "params": number("embedding_params", ",.0f"),
        "paper_params": number("paper_embedding_params", ",.0f"),
        "rate": number("rate", ".4g"),
        "paper_rate": number("paper_rate", "g"),
        "rate_with_codes": number("rate_with_codes", ".4g"),
    }


def precisions_of(
    experiment: Experiment, name: str, measured: pd.DataFrame, models: list[str] | None = None
) -> dict[str, list[str]]:
    """In which precisions the language models of a table were trained."""
    runs = {
        model: of_runs(measured, experiment.table(name, [model]))
        for model in models or experiment.preset.tables[name].models
    }
    return {model: sorted(set(here["precision"].dropna())) for model, here in runs.items()}


def as_markdown(
    rows: pd.DataFrame,
    experiment: Experiment,
    name: str,
    precisions: Mapping[str, list[str]] | None = None,
) -> str:
    """One Markdown table for each language model."""
    table = experiment.preset.tables[name]
    title = table.title.removesuffix(".")
    lines = [f"{title}. {explanation(experiment, name)}"]
    for model, part in rows.groupby("model", sort=False):
        here = note(experiment, str(model), (precisions or {}).get(str(model)))
        lines += ["", f"**{as_markdown_text(str(model))}** ({here})", ""]
        titles = headings(part, table.score)
        lines.append("| " + " | ".join(titles.values()) + " |")
        lines.append("| --- |" + " ---: |" * (len(titles) - 1))
        for row in part.to_dict("records"):
            text = cells(row, table.score)
            text["label"] = as_markdown_text(text["label"])
            lines.append("| " + " | ".join(text[cell] for cell in titles) + " |")
        if (part["n_seeds"] == 0).any():
            filling = command(experiment, f"{name}_{model}")
            lines += ["", f"Not run; what fills these cells: `{filling}`"]
    return "\n".join(lines) + "\n"


def as_latex(
    rows: pd.DataFrame,
    experiment: Experiment,
    name: str,
    precisions: Mapping[str, list[str]] | None = None,
) -> str:
    """A booktabs table; the caption is a comment above it."""
    table = experiment.preset.tables[name]
    titles = headings(rows, table.score)
    lines = [
        f"% {table.title.removesuffix('.')}. {explanation(experiment, name)}".replace("\n", " "),
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{l" + "r" * (len(titles) - 1) + "}",
    ]
    for model, part in rows.groupby("model", sort=False):
        first = str(model)[:1].upper() + str(model)[1:]
        lines.append(r"\toprule")
        heads = [f"{as_latex_text(first)} model", *list(titles.values())[1:]]
        lines.append(" & ".join(heads) + r" \\")
        lines.append(r"\midrule")
        here = as_latex_text(note(experiment, str(model), (precisions or {}).get(str(model))))
        lines.append(
            rf"\multicolumn{{{len(titles)}}}{{p{{0.95\linewidth}}}}{{\footnotesize {here}.}} \\"
        )
        for row in part.to_dict("records"):
            text = cells(row, table.score)
            lines.append(" & ".join(as_latex_text(text[cell]) for cell in titles) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "×": r"$\times$",
    **{sign: "\\" + sign for sign in "%_&#${}"},
}  # fmt: skip


def as_latex_text(text: str) -> str:
    """Text that LaTeX shows as it is.

    Example:
        >>> as_latex_text("20 % of gradient_scale")
        '20 \\\\% of gradient\\\\_scale'
    """
    return "".join(LATEX.get(sign, sign) for sign in text)


# What Markdown makes something of: signs, underscores at the end of a word, entities.
MARKDOWN = re.compile(r"[\\`*<\[\]|~$]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)")


def as_markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, in a table too.

    Example:
        >>> print(as_markdown_text("<unk> *star* a|b"))
        \\<unk> \\*star\\* a\\|b
    """
    return MARKDOWN.sub(lambda found: "\\" + found.group(), text)


def least_perplexity(experiment: Experiment) -> float | None:
    """The least perplexity that a model of the text can have, where it is known."""
    found: float | None = getattr(experiment.preset.text, "floor_perplexity", None)
    return found
