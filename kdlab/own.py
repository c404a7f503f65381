"""Files of the user's own that a preset reads: no rule makes them, and DVC is told of them."""

import os
from pathlib import Path

import yaml

from kdcore.errors import KDError
from kdlab.preset import Preset

# Training tokens of the Penn Treebank, and the bytes of their file.
PTB_TOKENS, PTB_BYTES = 929_589, 5_101_618


def own_files(preset: Preset) -> list[str]:
    """Their paths: of a text of one's own, of word vectors in a file."""
    files = []
    if preset.corpus.kind in ("text", "files"):
        files += preset.corpus.files("").values()
    if preset.table2 and preset.table2.vectors.kind == "file":
        files.append(preset.table2.vectors.path)
    return files


def tokens_about(preset: Preset) -> int:
    """Tokens of the training text, about: of a text of one's own by the size of its file."""
    corpus = preset.corpus
    if corpus.kind == "generated":
        return corpus.tokens
    train = Path(corpus.files("")["train"])
    if corpus.kind == "ptb" or not train.is_file():
        return PTB_TOKENS
    return max(1, round(train.stat().st_size * PTB_TOKENS / PTB_BYTES))


def check_there(files: list[str]) -> None:
    """Make sure that there are such files: Snakemake asks only where nothing was made of them yet.

    Raises:
        KDError: one is not there.
    """
    for file in files:
        if not Path(file).is_file():
            raise KDError(f"{file}: no such file, which the preset names")


def check_watched(files: list[str]) -> None:
    """In a stage of DVC, make sure that it depends on these files through `own` in params.yaml.

    Snakemake sees them change; DVC would not start it.

    Raises:
        KDError: one is not below it.
    """
    if not files or "DVC_STAGE" not in os.environ:
        return
    watched = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["own"]
    for file in files:
        if not Path(file).resolve().is_relative_to(Path(watched).resolve()):
            raise KDError(
                f"{file}: DVC would not see it change; name it, or the folder that holds your "
                "files, as own in params.yaml"
            )
