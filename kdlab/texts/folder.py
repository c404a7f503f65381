"""A folder of your own with train.txt, valid.txt and test.txt, one sentence a line."""

from pathlib import Path

from pydantic import Field

from kdlab.corpus import SPLITS, Corpus
from kdlab.texts import TextSettings

NUMERICS = 1
EXAMPLE: dict[str, object] = {"folder": "mytext"}


class Settings(TextSettings):
    """Where the folder is."""

    folder: str = Field(description="the folder, relative to the project; `~` is your home")

    @property
    def files(self) -> dict[str, Path]:
        """The three files by split."""
        return {split: Path(self.folder).expanduser() / f"{split}.txt" for split in SPLITS}

    @property
    def places(self) -> frozenset[str]:
        """Settings that say where files are: their content counts in an address, not their name."""
        return frozenset({"folder"})


def read(settings: Settings) -> Corpus:
    """The text with its vocabulary.

    Raises:
        KDError: a file is missing, empty or not UTF-8.
    """
    return Corpus.from_files(settings.files)
