"""The first lines of a GloVe table; of the remote archive only those are read."""

import hashlib
import io
import itertools
import time
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import aiohttp
import fsspec
from pydantic import Field
from tqdm import tqdm

from kdcore.errors import KDError
from kdcore.vectors import WordVectors
from kdlab.download import ATTEMPTS, check_sum, find_in_mirror, mirror_folder, not_found
from kdlab.vectors import VectorInputs, VectorSettings
from kdlab.word_vector_text import parse_vectors

NUMERICS = 1
EXAMPLE: dict[str, object] = {"dim": 50, "words": 10_000}
URLS = (
    "https://nlp.stanford.edu/data/glove.6B.zip",
    "https://downloads.cs.stanford.edu/nlp/data/glove.6B.zip",
)
ARCHIVE_SHA256 = "617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb"
# SHA-256 of the first lines of a member, by (size, lines).
FIRST_LINES_SHA256 = {
    (50, 10_000): "f6ff508f0c7eb106528d58e3d2d23048fbbf167b05887988304fd1299b26ac3a",
}


class Settings(VectorSettings):
    """Which table, and how much of it."""

    dim: Literal[50, 100, 200, 300] = Field(description="vector size")
    words: int = Field(gt=0, le=400_000, description="lines read, the most frequent words")

    @property
    def title(self) -> str:
        """What Table 2 calls them."""
        return f"GloVe 6B, {self.dim} dimensions"


def read(settings: Settings, inputs: VectorInputs) -> WordVectors:
    """The vectors of the most frequent words.

    Raises:
        KDError: no source has the lines, or they are not the expected ones.
    """
    text = read_glove(settings.dim, settings.words, mirror_folder())
    # Words may have what else splits a line, such as U+0085.
    lines = text.removesuffix("\n").split("\n")
    return parse_vectors(lines, f"glove.6B.{settings.dim}d")


def read_glove(dim: int, words: int, mirror: Path | None, urls: Iterable[str] = URLS) -> str:
    """The first lines of `glove.6B.<dim>d.txt`, one for each of the most frequent words.

    They come from the mirror's `glove/` folder (`glove.6B.<dim>d.txt`, the same cut to its
    first 10,000 lines as `glove.6B.<dim>d.10k.txt`, or `glove.6B.zip`), else over HTTP range
    requests, which move a few megabytes of the archive's 862.

    Raises:
        KDError: no source has the lines, or they are not the expected ones.
    """
    member = f"glove.6B.{dim}d.txt"
    names = [f"glove/{member}", f"glove/glove.6B.{dim}d.10k.txt", "glove/glove.6B.zip"]
    if words > 10_000:
        names.pop(1)
    local = find_in_mirror(mirror, names)
    if local is not None:
        if local.suffix == ".zip":
            check_sum(local, ARCHIVE_SHA256)
            text = _first_lines_of_member(local.open("rb"), member, words)
        else:
            with local.open("rb") as stream:
                text = b"".join(itertools.islice(stream, words))
        return _checked(text, dim, words, str(local))
    reasons = []
    for url in urls:
        try:
            return _checked(_from_url(url, member, words), dim, words, url)
        except KDError as error:
            reasons.append(str(error))
    raise KDError(not_found(member, reasons, mirror, names[0]))


def _from_url(url: str, member: str, words: int) -> bytes:
    """The lines over HTTP ranges, with a progress bar; a broken connection is tried again."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            # Through the proxy that the environment names, as other downloads.
            stream = fsspec.open(
                url, "rb", block_size=1 << 20, client_kwargs={"trust_env": True}
            ).open()
            return _first_lines_of_member(stream, member, words)
        except (KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise KDError(f"{url} ({type(error).__name__}: {error})") from None
        except (OSError, EOFError, aiohttp.ClientError) as error:
            # fsspec calls a server that cannot be reached a missing file, too.
            cause = error.__cause__ if isinstance(error, FileNotFoundError) else error
            if isinstance(cause, aiohttp.ClientResponseError | None):
                raise KDError(f"{url} (not found)") from None
            if attempt == ATTEMPTS:
                raise KDError(f"{url} ({type(cause).__name__})") from None
            time.sleep(2**attempt)
    raise KDError(f"{url} (not tried)")


def _first_lines_of_member(stream: io.IOBase, member: str, lines: int) -> bytes:
    with stream, zipfile.ZipFile(stream) as archive, archive.open(member) as text:
        first = itertools.islice(text, lines)
        return b"".join(tqdm(first, total=lines, unit="words", desc=member, mininterval=0.5))


def _checked(text: bytes, dim: int, words: int, source: str) -> str:
    found = hashlib.sha256(text).hexdigest()
    expected = FIRST_LINES_SHA256.get((dim, words), found)
    if found != expected:
        raise KDError(
            f"{source}: the first {words} lines have SHA-256 {found}, expected {expected}; "
            "altered or truncated"
        )
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise KDError(f"{source}: not UTF-8 text ({error})") from None
    if decoded.count("\n") < words:
        raise KDError(f"{source}: fewer than the {words} lines asked for")
    return decoded
