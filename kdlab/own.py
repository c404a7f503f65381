"""Files of the user's own that a preset reads: no rule makes them, and DVC is told of them."""

import os
from collections.abc import Iterable
from pathlib import Path

import yaml

from kdcore.errors import KDError
from kdlab.addresses import Run
from kdlab.preset import Preset
from kdlab.vectors import VECTORS


def own_files(preset: Preset, runs: Iterable[Run]) -> list[Path]:
    """Their paths: of a text of one's own, of word vectors in files.

    Args:
        runs: all that the preset can ask for; a model or a method may have vectors of its own.
    """
    vectors = [VECTORS.parse(run.settings) for run in runs if run.stage == "vectors"]
    files = [file for settings in (preset.vectors, *vectors) for file in settings.files]
    text = preset.text.files.values() if preset.text else ()
    return [*text, *dict.fromkeys(files)]


def check_there(files: Iterable[Path]) -> None:
    """Make sure that there are such files.

    Raises:
        KDError: one is not there.
    """
    for file in files:
        if not file.is_file():
            raise KDError(f"{file}: no such file, which the configuration names")


def check_watched(files: list[Path]) -> None:
    """In a stage of DVC, make sure that it depends on these files through `own` in params.yaml.

    Their content is part of an address; but DVC would not start the stage.

    Raises:
        KDError: one is not below it.
    """
    if not files or "DVC_STAGE" not in os.environ:
        return
    watched = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["own"]
    for file in files:
        if not file.resolve().is_relative_to(Path(watched).resolve()):
            raise KDError(
                f"{file}: DVC would not see it change; name it, or the folder that holds your "
                "files, as own in params.yaml"
            )
