"""A text file of your own, a word and its numbers per line."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import Field

from kdcore.errors import KDError
from kdcore.vectors import WordVectors
from kdlab.vectors import VectorInputs, VectorSettings
from kdlab.word_vector_text import parse_vectors

NUMERICS = 1
EXAMPLE: dict[str, object] = {"path": "my.vec"}


class Settings(VectorSettings):
    """Where the file is."""

    path: str = Field(description="the file, relative to the project; `~` is your home")
    words: int | None = Field(None, gt=0, description="lines read; null reads all")

    @property
    def files(self) -> list[Path]:
        """The file."""
        return [Path(self.path).expanduser()]

    @property
    def places(self) -> frozenset[str]:
        """Settings that say where files are: their content counts in an address, not their name."""
        return frozenset({"path"})

    @property
    def title(self) -> str:
        """What Table 2 calls them."""
        return self.path


def read(settings: Settings, inputs: VectorInputs) -> WordVectors:
    """The vectors in the file.

    Raises:
        KDError: the file is missing, not UTF-8, or has no vectors of one length.
    """
    path = settings.files[0]
    try:
        with path.open("rb") as stream:
            return parse_vectors(_decoded(stream, path), str(path), settings.words)
    except OSError as error:
        raise KDError(f"{path}: {error.strerror}") from None


def _decoded(lines: Iterable[bytes], path: Path) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise KDError(
                f"{path}, line {number}: must be UTF-8 text, has the byte 0x{byte:02x}"
            ) from None
