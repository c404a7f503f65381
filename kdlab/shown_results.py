"""Results on the pages: numbers and tables between marks, taken from the files of results."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Any

import pandas as pd

from kdcore.errors import KDError
from kdlab.provenance import ROOT
from kdlab.tables import as_markdown_text

NOT_RUN = "not run"
# What a page shows of the results stands between two marks, the first of which says what it is.
MARK = re.compile(r"<!-- = (?P<what>.+?) -->(?P<shown>.*?)<!-- / -->", re.S)
# Plain names of columns that stand for a mean with its spread, as tables show it.
SPREAD = re.compile(r"\w+_ppl")


def drawn(page: str, root: Path = ROOT) -> str:
    """A page with what stands between its marks taken anew from the results.

    A mark names a file, and of a `.csv` file a row and what is shown of it. A row is meant by
    words that are cells of it, by `column=cell`, or as the `last` of those; quotes keep words
    together. Shown is a column with its format, or `test_ppl` for a mean with its spread. A `.md`
    file, or a `.csv` file alone, is shown whole; of a table with several models, the one that is
    named alone.

        <!-- = results/paper/table1.csv small linear-linear: test_ppl -->107.71 ± 0.98<!-- / -->
        <!-- = results/paper/table1.csv small linear-lstm: {rate:.4g} -->0.1854<!-- / -->
        <!-- = results/paper/table1.md small -->
        …
        <!-- / -->

    Raises:
        KDError: a file, row or column is not there, or several rows are meant.
    """

    def again(found: re.Match[str]) -> str:
        what = found["what"]
        try:
            shown = _shown(what, root)
        except KDError as error:
            raise KDError(f"mark {what!r}: {error}") from None
        return f"<!-- = {what} -->{shown}<!-- / -->"

    return MARK.sub(again, page)


def _shown(what: str, root: Path) -> str:
    place, _, form = what.partition(": ")
    try:
        file, *words = shlex.split(place)
    except ValueError as error:
        raise KDError(str(error)) from None
    if not (root / file).is_file():
        raise KDError(f"{file}: no such file")
    if not form and file.endswith(".md"):
        return "\n" + _of_model((root / file).read_text("utf-8"), file, words)
    if not form:
        return "\n" + _as_table(root / file)
    rows = pd.read_csv(root / file, dtype=str, keep_default_na=False)
    typed = pd.read_csv(root / file)
    for word in words:
        column, is_named, value = word.partition("=")
        if is_named and column not in rows:
            raise KDError(f"no column {column} in {file}; there are {', '.join(rows)}")
        here = rows[column] == value if is_named else (rows == word).any(axis=1)
        rows = rows.tail(1) if word == "last" else rows[here]
    if len(rows) != 1:
        raise KDError(f"must mean one row of {file}, means {len(rows)}")
    row = typed.loc[rows.index[0]].to_dict()
    try:
        return _perplexity(row, form) if SPREAD.fullmatch(form) else _formatted(row, form)
    except (KeyError, IndexError):
        raise KDError(f"no such column in {file}; there are {', '.join(row)}") from None
    except ValueError as error:
        raise KDError(str(error)) from None


def _of_model(text: str, file: str, words: list[str]) -> str:
    """A table's title and the part of one model; the whole where none is named."""
    if not words:
        return text
    title, *parts = re.split(r"^(?=\*\*)", text, flags=re.M)
    found = [part for part in parts if part.startswith(f"**{' '.join(words)}**")]
    if not found:
        raise KDError(f"no model {' '.join(words)} in {file}")
    return f"{title}{found[0].rstrip()}\n"


def _perplexity(row: Mapping[str, Any], name: str) -> str:
    """A mean with its spread where there are several seeds."""
    mean, spread = row[f"{name}_mean"], row.get(f"{name}_std")
    if pd.isna(mean):
        return NOT_RUN
    return f"{mean:.2f}" if pd.isna(spread) else f"{mean:.2f} ± {spread:.2f}"


def _formatted(row: Mapping[str, Any], form: str) -> str:
    wanted = [name for _, name, _, _ in Formatter().parse(form) if name]
    if any(pd.isna(row[name]) for name in wanted):
        return NOT_RUN
    return form.format_map(row)


def _as_table(file: Path) -> str:
    """A `.csv` file as a Markdown table; empty where it is empty."""
    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    numbers = pd.read_csv(file).dtypes.map(pd.api.types.is_numeric_dtype)
    heads = [name.replace("_", " ") for name in frame.columns]
    lines = [f"| {' | '.join(heads)} |"]
    lines.append("| " + " | ".join("---:" if number else "---" for number in numbers) + " |")
    for row in frame.itertuples(index=False):
        lines.append("| " + " | ".join(as_markdown_text(value) for value in row) + " |")
    return "\n".join(lines) + "\n"
