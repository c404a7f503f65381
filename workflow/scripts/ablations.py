"""Compare variants of code learning and of the KD embedding, on validation perplexity alone."""

import json
from pathlib import Path
from typing import Annotated

import _script
import pandas as pd
import typer
from table1 import words_left_out

from kdcore.files import read_json, write_text
from kdcore.settings.codes import CodeLearningSettings, KDEmbeddingSettings
from kdlab.corpus import Corpus
from kdlab.measured import checks, config_hash
from kdlab.preset import Preset, load_preset

COLUMNS = [
    "variant", "size", "transform", "code_dim", "init_scale", "normalise", "cell", "gradient_scale",
    "dropout", "fitted", "learning", "embedding_params", "code_entropy", "unique_codes",
    "epochs", "train_ppl", "valid_ppl", "seed", "device", "torch", "commit", "data_hash",
    "code_hash", "config_hash", "codes_hash", "identity",
]  # fmt: skip


def main(
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    corpus: Annotated[Path, typer.Option(help="corpus file: the text they are to be of")],
    table: Annotated[Path, typer.Option(help="output: csv")],
    markdown: Annotated[Path, typer.Option(help="output: Markdown")],
    measurements: Annotated[list[Path] | None, typer.Argument(help="measurement files")] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    preset = load_preset(read_json(settings))
    chosen = preset.ablations
    wanted = checks(preset, Corpus.load(corpus).digest[:16])
    rows = []
    for path in measurements or []:
        row, name = read_json(path), path.parent.name
        if other := wanted[f"ablations/{name}"](row):
            _script.log.warning("left out, measured with other settings: %s (%s)", path, other)
            continue
        found = KDEmbeddingSettings.model_validate(row["embedding"])
        learned = CodeLearningSettings.model_validate(row["learning"])
        rows.append(
            {
                "variant": name, **row, **found.model_dump(), "fitted": bool(found.fit),
                "learning": changed(learned, chosen.learning), "config_hash": config_hash(row),
            }
        )  # fmt: skip
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.loc[frame["transform"] != "lstm", "cell"] = None
    write_text(table, frame.to_csv(index=False))
    lines = [
        "Variants of code learning and of the KD embedding, one seed each.",
        "",
        "| Variant | Model | E. size | Train PPL | Valid PPL |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    measured = frame.set_index("variant")
    for variant in chosen.variants:
        name, size = variant.name, chosen.size_of(variant)
        if name in measured.index:
            row = measured.loc[name]
            lines.append(
                f"| {name} | {size} | {row['embedding_params']:,} | {row['train_ppl']:.1f} | "
                f"{row['valid_ppl']:.1f} |"
            )
        else:
            lines.append(f"| {name} | {size} | | | not run |")
    lines += ["", f"Models: {models(preset)}."]
    write_text(markdown, "\n".join(lines) + "\n")


def changed(learned: CodeLearningSettings, common: CodeLearningSettings) -> str | None:
    """What codes were learned with otherwise than those of the other variants, JSON."""
    others = common.model_dump()
    found = {name: v for name, v in learned.model_dump().items() if v != others[name]}
    return json.dumps(found) if found else None


def models(preset: Preset) -> str:
    """The model sizes with which variants are retrained."""
    told = {}
    for size in map(preset.ablations.size_of, preset.ablations.variants):
        left_out = words_left_out(preset, size)
        told[size] = f"{size}, {preset.sizes[size].epochs} epochs" + (
            f", {left_out}" if left_out else ""
        )
    return "; ".join(told.values())


if __name__ == "__main__":
    _script.run(main)
