"""A table of the preset: perplexity, embedding size and compression rate, beside the paper's."""

from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.files import write_text
from kdlab import paper as numbers
from kdlab import tables
from kdlab.measurements import read_measurements


def main(
    name: Annotated[str, typer.Option(help="entry of `tables`")],
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    paper: Annotated[Path, typer.Option(help="the paper's numbers")],
    csv: Annotated[Path, typer.Option(help="output: csv")],
    markdown: Annotated[Path, typer.Option(help="output: Markdown")],
    latex: Annotated[Path, typer.Option(help="output: LaTeX")],
    measurements: Annotated[list[Path] | None, typer.Argument(help="measurement files")] = None,
    model: Annotated[list[str] | None, typer.Option(help="only these language models")] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    experiment = _script.experiment(settings)
    printed = numbers.table1(paper)
    runs = experiment.table(name, model or None)
    measured = read_measurements(experiment, measurements or [], runs)
    rows = tables.build(experiment, name, measured, printed, model)
    precisions = tables.precisions_of(experiment, name, measured, model)
    write_text(csv, rows.to_csv(index=False))
    write_text(markdown, tables.as_markdown(rows, experiment, name, precisions))
    write_text(latex, tables.as_latex(rows, experiment, name, precisions))


if __name__ == "__main__":
    _script.run(main)
