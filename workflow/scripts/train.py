"""Train a language model with an input embedding, and measure it (a row of Table 1)."""

from pathlib import Path
from typing import Annotated, Any

import _script
import typer

from kdcore.codes import Codes
from kdcore.embeddings import EMBEDDINGS, Embedding, EmbeddingInputs
from kdcore.errors import KDError
from kdcore.files import sha256
from kdcore.vectors import WordVectors
from kdlab.corpus import Corpus
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.measuring import Conditions, Outputs, train_and_measure
from kdlab.training import Precision


def main(
    settings: Annotated[str, typer.Option(help="model, embedding and seed, JSON")],
    identity: Annotated[str, typer.Option(help="what the address is the hash of, JSON")],
    address: Annotated[str, typer.Option(help="of the run")],
    corpus: Annotated[Path, typer.Option(help="corpus file")],
    scratch: Annotated[Path, typer.Option(help="folder of checkpoints")],
    model: Annotated[Path, typer.Option(help="output: weights")],
    curve: Annotated[Path, typer.Option(help="output: perplexity by epoch")],
    measurement: Annotated[Path, typer.Option(help="output: what was measured")],
    title: Annotated[str, typer.Option(help="what messages call the model")] = "language model",
    model_name: Annotated[str, typer.Option(help="the preset's name of the model")] = "",
    method: Annotated[str, typer.Option(help="the preset's name of the method")] = "",
    codes: Annotated[Path | None, typer.Option(help="codes, one a word")] = None,
    vectors: Annotated[Path | None, typer.Option(help="pretrained word vectors")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    precision: Annotated[Precision, typer.Option(help="arithmetic of training")] = "float32",
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    checkpoint_seconds: Annotated[float, typer.Option(help="time between checkpoints")] = 60.0,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    values = _script.as_json(settings)
    chosen = _script.parse(LanguageModelSettings, values["model"], "model")
    embedding = EMBEDDINGS.parse(values["embedding"], "embedding")
    text = Corpus.load(corpus)
    code = Codes.load(codes) if codes else None
    if code is not None and len(code) != len(text.words):
        raise KDError(f"{codes} has {len(code)} codes, {corpus} has {len(text.words)} words")
    table = WordVectors.load(vectors) if vectors else None
    if table and vectors:
        text.check_words(table.words, vectors)

    def build(restoring: bool) -> Embedding:
        inputs = EmbeddingInputs(
            codes=code,
            vectors=table.vectors if table else None,
            counts=text.counts,
            init_scale=chosen.init_scale,
            restoring=restoring,
        )
        built: Embedding = embedding.module.build(embedding, len(text.words), chosen.hidden, inputs)
        return built

    about: dict[str, Any] = {
        "address": address,
        "model": model_name,
        "method": method,
        "seed": values["seed"],
        "K": code.K if code else None,
        "D": code.D if code else None,
    }
    if code is not None:
        health = code.statistics()
        about |= {
            "unique_codes": health.unique,
            "code_entropy": sum(health.entropy) / code.D,
            "codes_hash": sha256(codes)[:16] if codes else None,
        }
    if vectors is not None:
        about["vectors_hash"] = sha256(vectors)[:16]
    train_and_measure(
        title=title,
        build=build,
        corpus=text,
        settings=chosen,
        seed=values["seed"],
        conditions=Conditions(device, precision, threads, checkpoint_seconds),
        scratch=scratch,
        outputs=Outputs(model, curve, measurement),
        about=about,
        identity=_script.as_json(identity, "identity"),
    )


if __name__ == "__main__":
    _script.run(main)
