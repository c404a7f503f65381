"""Learning curves of Table 1's models: validation perplexity by epoch, one panel per size.

Rows with dropout of code symbols have a panel of their own, the conventional model in it again.
"""

import math
from pathlib import Path
from typing import Annotated

import _script
import matplotlib.pyplot as plt
import pandas as pd
import typer
from _figure import CODES, ORANGE, TRANSFORM_DASHES, not_run, perplexity_axis, save
from table1 import label

from kdcore.files import read_json
from kdlab.grammar import floor_perplexity
from kdlab.measured import cell_of
from kdlab.preset import TRANSFORMS, Preset, Row, load_preset, row_cells


def main(
    measurements: Annotated[Path, typer.Option(help="table of the models to show")],
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    png: Annotated[Path, typer.Option(help="output: for the screen")],
    pdf: Annotated[Path, typer.Option(help="output: for print")],
    curves: Annotated[
        list[Path] | None, typer.Argument(help="learning curves of all models")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    preset = load_preset(read_json(settings))
    measured = pd.read_csv(measurements).astype(object)
    shown = {cell_of(row) for row in measured.where(measured.notna(), None).to_dict("records")}
    wanted = panels(preset)
    across = min(2, len(wanted))
    down = math.ceil(len(wanted) / across)
    figure, axes = plt.subplots(
        down, across, figsize=(3.6 * across, 3.0 * down), squeeze=False, sharey=True
    )
    for empty in axes.flat[len(wanted) :]:
        empty.set_axis_off()
    for place, (panel, (title, size, rows)) in enumerate(zip(axes.flat, wanted, strict=False)):
        for row in rows:
            cell = row_cells(preset, size, row)[0]
            path = next(
                (p for p in curves or [] if p.parent.as_posix().endswith(cell.folder)), None
            )
            if path is not None and cell in shown:
                curve = pd.read_csv(path)
                panel.plot(
                    curve["epoch"],
                    curve["valid_ppl"],
                    color=CODES[row.codes],
                    ls=TRANSFORM_DASHES[TRANSFORMS.get(row.transform, "none")],
                    label=label(row.codes, row.transform),
                )
        panel.set_title(title, loc="left")
        if not panel.lines:
            not_run(panel)
            continue
        if preset.corpus.kind == "generated":
            floor = floor_perplexity()
            panel.axhline(floor, color=ORANGE, lw=1, ls=":", label="entropy of the text")
        panel.set(xlabel="epoch", ylabel="" if place % across else "validation perplexity")
        perplexity_axis(panel.yaxis)
        panel.legend(fontsize=6.5)
    save(figure, png, pdf)


def panels(preset: Preset) -> list[tuple[str, str, list[Row]]]:
    """Title, model size and rows of each panel."""
    found = []
    for size in preset.table1.sizes:
        rows = preset.table1.rows_of(size)
        dropping = [row for row in rows if row.transform.endswith("_dropout")]
        found.append((f"{size} model", size, [row for row in rows if row not in dropping]))
        if dropping:
            conventional = [row for row in rows if row.codes == "none"]
            title = f"{size} model, dropout of code symbols"
            found.append((title, size, conventional + dropping))
    return found


if __name__ == "__main__":
    _script.run(main)
