"""Draw a figure of the preset, and the tables that go with it."""

from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.errors import KDError
from kdcore.files import write_text
from kdcore.kinds import unknown
from kdlab import drawing


def main(
    name: Annotated[str, typer.Option(help="entry of `figures`")],
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    results: Annotated[Path, typer.Option(help="folder of tables, read and written")],
    png: Annotated[Path, typer.Option(help="output: for the screen")],
    pdf: Annotated[Path, typer.Option(help="output: for print")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="learning curves (curve.csv), and of codes the time (*.tsv) and error (*.json)"
        ),
    ] = None,
    vectors: Annotated[Path | None, typer.Option(help="word vectors of Table 2")] = None,
    codes: Annotated[Path | None, typer.Option(help="codes learned from them")] = None,
    decoder: Annotated[Path | None, typer.Option(help="what was learned with the codes")] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    experiment = _script.experiment(settings)
    chosen = experiment.preset.figures
    if name not in chosen:
        raise KDError(unknown("entry of figures", name, list(chosen)))
    given = files or []
    data = drawing.FigureData(
        chosen[name],
        experiment,
        results,
        curves={path.parent.name: path for path in given if path.suffix == ".csv"},
        benchmarks={path.parent.name: path for path in given if path.suffix == ".tsv"},
        errors={path.parent.name: path for path in given if path.suffix == ".json"},
        word_files=drawing.WordFiles(vectors, codes, decoder)
        if vectors and codes and decoder
        else None,
    )
    for file, table in drawing.tables(data).items():
        write_text(results / file, table.to_csv(index=False))
    drawing.render(data, png, pdf)


if __name__ == "__main__":
    _script.run(main)
