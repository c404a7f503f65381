"""A table in an installed Python distribution, in any format that `kdcore` reads."""

from pydantic import Field

from kdcore.formats import read_vectors
from kdcore.vectors import WordVectors
from kdlab.installed import PLACES, InstalledFile, find_installed
from kdlab.vectors import VectorInputs, VectorSettings

NUMERICS = 1
EXAMPLE: dict[str, object] = {
    "distribution": "some-vectors", "version": "1.0", "file": "some_vectors/table.npy",
    "sha256": "0" * 64,
}  # fmt: skip


class Settings(VectorSettings, InstalledFile):
    """Which file of which distribution, and how much of it."""

    tensor: str | None = Field(
        None, description="the table's name in a file of several; null: there is one"
    )
    words: int | None = Field(None, gt=0, description="rows read, the first; null reads all")

    @property
    def places(self) -> frozenset[str]:
        """Where the file is; its SHA-256 counts."""
        return PLACES

    @property
    def title(self) -> str:
        """What Table 2 calls them."""
        return f"{self.distribution} {self.version}"


def read(settings: Settings, inputs: VectorInputs) -> WordVectors:
    """The table; rows without words are called by their numbers.

    Raises:
        KDError: the file is not there or is another one, or has no such table.
    """
    path = find_installed(settings)
    found = read_vectors(path if settings.tensor is None else f"{path}:{settings.tensor}")
    vectors = found.vectors[: settings.words].clone()
    words = map(str, range(len(vectors))) if found.words is None else found.words[: len(vectors)]
    return WordVectors(tuple(words), vectors)
