"""One HTML page with everything a preset measured; opens without network."""

from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.files import write_text
from kdlab.report import render


def main(
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    results: Annotated[Path, typer.Option(help="folder of tables and figures")],
    template: Annotated[Path, typer.Option(help="the page's template")],
    report: Annotated[Path, typer.Option(help="output: the page")],
    vectors: Annotated[Path | None, typer.Option(help="word vectors of Table 2")] = None,
    codes: Annotated[Path | None, typer.Option(help="codes of Table 2")] = None,
    text: Annotated[Path | None, typer.Option(help="corpus file")] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    experiment = _script.experiment(settings)
    page = render(
        experiment, results, template.read_text(encoding="utf-8"),
        settings.read_text(encoding="utf-8"), vectors, codes, text,
    )  # fmt: skip
    write_text(report, page)
    _script.log.info("report: %s", report)


if __name__ == "__main__":
    _script.run(main)
