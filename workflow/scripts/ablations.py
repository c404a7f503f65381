"""Compare variants of the KD embedding, on validation perplexity alone."""

from pathlib import Path
from typing import Annotated

import _script
import pandas as pd
import typer

from kdcore.files import read_json, write_text

COLUMNS = [
    "variant", "transform", "code_dim", "init_scale", "normalise", "cell", "embedding_params",
    "epochs", "train_ppl", "valid_ppl", "seed", "data_hash", "code_hash", "identity",
]  # fmt: skip


def main(
    table: Annotated[Path, typer.Option(help="output: csv")],
    markdown: Annotated[Path, typer.Option(help="output: Markdown")],
    measurements: Annotated[list[Path] | None, typer.Argument(help="measurement files")] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    rows = []
    for path in measurements or []:
        row = read_json(path)
        rows.append({"variant": path.parent.name, **row, **row["embedding"]})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.loc[frame["transform"] != "lstm", "cell"] = None
    write_text(table, frame.to_csv(index=False))
    epochs = frame["epochs"].iloc[0]
    lines = [
        f"Variants of the KD embedding on a short schedule of {epochs} epochs, one seed each.",
        "",
        "| Variant | E. size | Train PPL | Valid PPL |",
        "| --- | ---: | ---: | ---: |",
    ]
    for _, row in frame.iterrows():
        lines.append(
            f"| {row['variant']} | {row['embedding_params']:,} | {row['train_ppl']:.1f} | "
            f"{row['valid_ppl']:.1f} |"
        )
    write_text(markdown, "\n".join(lines) + "\n")


if __name__ == "__main__":
    _script.run(main)
