"""Table 1 as a picture: test perplexity of every row, beside the paper's."""

from pathlib import Path
from typing import Annotated

import _script
import matplotlib.pyplot as plt
import pandas as pd
import typer
from _figure import CODES, GREY, not_run, save
from table1 import label


def main(
    table: Annotated[Path, typer.Option(help="Table 1")],
    png: Annotated[Path, typer.Option(help="output: for the screen")],
    pdf: Annotated[Path, typer.Option(help="output: for print")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    rows = pd.read_csv(table)
    sizes = list(dict.fromkeys(rows["size"]))
    names = [label(*row) for row in rows[["codes", "transform"]].values]
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    rows["place"] = [places[name] for name in names]
    figure, axes = plt.subplots(
        1, len(sizes), figsize=(3.6 * len(sizes), 0.9 + 0.2 * len(places)), squeeze=False,
        sharex=True, sharey=True,
    )  # fmt: skip
    for panel, size in zip(axes[0], sizes, strict=True):
        part = rows[rows["size"] == size]
        panel.set_title(f"{size} model", loc="left")
        if part["test_ppl_mean"].isna().all():
            not_run(panel)
            continue
        for first, (_, row) in enumerate(part.iterrows()):
            panel.errorbar(
                row["test_ppl_mean"], row["place"], xerr=row["test_ppl_std"], fmt="o", ms=5,
                capsize=2.5, color=CODES[row["codes"]], label=None if first else "measured",
            )  # fmt: skip
            panel.plot(
                row["paper_ppl"], row["place"], "D", ms=4.5, mfc="none", color=GREY,
                label=None if first or pd.isna(row["paper_ppl"]) else "paper",
            )  # fmt: skip
        panel.set_yticks(range(len(places)), list(places))
        panel.grid(axis="y", visible=False)
        panel.set(xlabel="test perplexity", ylim=(len(places) - 0.5, -0.5))
        panel.legend(fontsize=7, loc="lower right")
    save(figure, png, pdf)


if __name__ == "__main__":
    _script.run(main)
