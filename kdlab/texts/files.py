"""Three text files of your own, one sentence a line."""

from pathlib import Path

from pydantic import Field

from kdlab.corpus import SPLITS, Corpus
from kdlab.texts import TextSettings

NUMERICS = 1
EXAMPLE: dict[str, object] = {"train": "train.txt", "valid": "valid.txt", "test": "test.txt"}


class Settings(TextSettings):
    """Where the files are."""

    train: str = Field(description="file to train on, relative to the project; `~` is your home")
    valid: str = Field(description="file to choose settings on")
    test: str = Field(description="file to report on")

    @property
    def files(self) -> dict[str, Path]:
        """The three files by split."""
        return {split: Path(getattr(self, split)).expanduser() for split in SPLITS}

    @property
    def places(self) -> frozenset[str]:
        """Settings that say where files are: their content counts in an address, not their name."""
        return frozenset(SPLITS)


def read(settings: Settings) -> Corpus:
    """The text with its vocabulary.

    Raises:
        KDError: a file is missing, empty or not UTF-8.
    """
    return Corpus.from_files(settings.files)
