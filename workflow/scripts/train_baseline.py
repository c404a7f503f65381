"""Train a language model with a conventional embedding (Table 1, first row)."""

from pathlib import Path
from typing import Annotated

import _language_model
import _script
import typer

from kdlab.corpus import Corpus
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.provenance import code_hash


def main(
    corpus: Annotated[Path, typer.Option(help="corpus file")],
    settings: Annotated[str, typer.Option(help="model size and schedule, JSON")],
    size: Annotated[str, typer.Option(help="name of the model size")],
    seed: Annotated[int, typer.Option(help="random seed")],
    scratch: Annotated[Path, typer.Option(help="folder of checkpoints")],
    model: Annotated[Path, typer.Option(help="output: weights")],
    curve: Annotated[Path, typer.Option(help="output: perplexity by epoch")],
    measurement: Annotated[Path, typer.Option(help="output: what was measured")],
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    checkpoint_seconds: Annotated[float, typer.Option(help="time between checkpoints")] = 60.0,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    text = Corpus.load(corpus)
    chosen = _script.parse(LanguageModelSettings, settings)
    _language_model.fit(
        name=f"{size} conventional, seed {seed}",
        make_embedding=lambda _begun: _language_model.conventional(len(text.words), chosen),
        corpus=text,
        settings=chosen,
        seed=seed,
        compute={
            "device": device, "precision": precision, "threads": threads,
            "checkpoint_seconds": checkpoint_seconds,
        },
        scratch=scratch,
        model=model,
        curve=curve,
        measurement=measurement,
        about={
            "size": size, "codes": "none", "transform": "none", "seed": seed,
            "code_hash": code_hash(__file__),
        },
    )  # fmt: skip


if __name__ == "__main__":
    _script.run(main)
