"""Check what the paper states against what was measured; failures are reported like successes."""

from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.files import write_text
from kdlab import claims
from kdlab import paper as numbers


def main(
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    paper: Annotated[Path, typer.Option(help="the paper's numbers")],
    results: Annotated[Path, typer.Option(help="folder of tables")],
    csv: Annotated[Path, typer.Option(help="output: csv")],
    markdown: Annotated[Path, typer.Option(help="output: Markdown")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    judged = claims.judge(_script.experiment(settings), results, numbers.sizes(paper))
    write_text(csv, claims.as_frame(judged).to_csv(index=False))
    write_text(markdown, claims.as_markdown(judged))
    _script.log.info("%s", claims.verdict([claim.holds for claim in judged]))


if __name__ == "__main__":
    _script.run(main)
