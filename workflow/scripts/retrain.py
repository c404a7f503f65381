"""Retrain a language model with a KD embedding over fixed codes (Table 1, coded rows)."""

from pathlib import Path
from typing import Annotated

import _language_model
import _script
import typer

from kdcore.codes import Codes
from kdcore.compression import compression_rate, compression_rate_with_codes
from kdcore.embedding import KDEmbedding
from kdcore.errors import KDError
from kdcore.files import sha256
from kdcore.fitting import fit_transform
from kdcore.settings.codes import CodeLearningSettings, KDEmbeddingSettings
from kdcore.vectors import WordVectors
from kdlab.corpus import Corpus
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.provenance import code_hash


def main(
    corpus: Annotated[Path, typer.Option(help="corpus file")],
    codes: Annotated[Path, typer.Option(help="codes file, one code a word")],
    settings: Annotated[str, typer.Option(help="model size and schedule, JSON")],
    embedding: Annotated[str, typer.Option(help="KD embedding settings, JSON")],
    size: Annotated[str, typer.Option(help="name of the model size")],
    learner: Annotated[str, typer.Option(help="how the codes were made: random, linear, lstm")],
    transform: Annotated[str, typer.Option(help="linear or lstm")],
    seed: Annotated[int, typer.Option(help="random seed")],
    scratch: Annotated[Path, typer.Option(help="folder of checkpoints")],
    curve: Annotated[Path, typer.Option(help="output: perplexity by epoch")],
    measurement: Annotated[Path, typer.Option(help="output: what was measured")],
    called: Annotated[
        str | None, typer.Option(help="what Table 1 calls the transform, if otherwise")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="output: weights, if wanted")] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="pretrained vectors to fit the transform to first")
    ] = None,
    learning: Annotated[
        str | None, typer.Option(help="how the codes were learned, JSON, for the record")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    checkpoint_seconds: Annotated[float, typer.Option(help="time between checkpoints")] = 60.0,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    text = Corpus.load(corpus)
    code = Codes.load(codes)
    if len(code) != len(text.words):
        raise KDError(f"{codes} has {len(code)} codes, {corpus} has {len(text.words)} words")
    chosen = _script.parse(LanguageModelSettings, settings)
    kd = _script.parse(KDEmbeddingSettings, embedding, "embedding")
    learned = _script.parse(CodeLearningSettings, learning, "learning") if learning else None

    if kd.fit and vectors is None:
        raise KDError("--embedding has a fit: --vectors is needed")
    called = called or transform
    name = f"{size} {learner}+{called} K={code.K} D={code.D}, seed {seed}"
    if kd.dropout:
        name += f", dropout {kd.dropout:g}"

    def make(begun: bool) -> KDEmbedding:
        made = KDEmbedding(code, chosen.hidden, transform, **kd.arguments(transform))
        if kd.fit and not begun:
            table = WordVectors.load(vectors).vectors
            error = fit_transform(made.transform, code, table, **kd.fit.model_dump())
            _script.log.info("%s: transform fitted, relative error %.3f", name, error)
        return made

    parameters = make(begun=True).transform.parameter_count()
    shape = (len(code), chosen.hidden)
    health = code.statistics()
    _language_model.fit(
        name=name,
        make_embedding=make,
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
            "size": size, "codes": learner, "transform": called,
            "K": code.K, "D": code.D, "seed": seed,
            "rate": compression_rate(parameters, *shape),
            "rate_with_codes": compression_rate_with_codes(parameters, *shape, code.K, code.D),
            "unique_codes": health.unique,
            "code_entropy": sum(health.entropy) / code.D,
            "embedding": kd.model_dump(),
            "learning": learned.model_dump() if learned else None,
            "codes_hash": sha256(codes)[:16],
            "vectors_hash": sha256(vectors)[:16] if kd.fit else None,
            "code_hash": code_hash(__file__),
        },
    )  # fmt: skip


if __name__ == "__main__":
    _script.run(main)
