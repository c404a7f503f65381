"""Files of the user's own that a preset reads: no rule makes them, and DVC is told of them."""

import os
from pathlib import Path

import yaml

from kdcore.errors import KDError
from workflow.preset import Preset


def own_files(preset: Preset) -> list[str]:
    """Their paths: of a text of one's own, of word vectors in a file."""
    files = []
    if preset.corpus.kind in ("text", "files"):
        files += preset.corpus.files("").values()
    if preset.table2 and preset.table2.vectors.kind == "file":
        files.append(preset.table2.vectors.path)
    return files


def check_watched(files: list[str]) -> None:
    """In a stage of DVC, make sure that it depends on these files through `own` in params.yaml.

    Snakemake sees them change; DVC would not start it.

    Raises:
        KDError: one is not there.
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
