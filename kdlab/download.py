"""Files from elsewhere: checked by SHA-256, from the first source that has them."""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pooch
import requests

from kdcore.errors import KDError
from kdcore.files import atomic_path, sha256

MIRROR_VARIABLE = "KDCORE_DATA_MIRROR"
ATTEMPTS = 3


def name_mirror(folder: str) -> None:
    """Make `folder` the local mirror for this process and those it starts."""
    os.environ[MIRROR_VARIABLE] = folder


def mirror_folder() -> Path | None:
    """The local mirror that the environment variable KDCORE_DATA_MIRROR names, if it does.

    Raises:
        KDError: it is not a folder.
    """
    named = os.environ.get(MIRROR_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise KDError(f"data_mirror must be a folder, got {named}")
    return folder


def find_in_mirror(mirror: Path | None, names: Sequence[str]) -> Path | None:
    """The first of the given relative names that the mirror has."""
    if mirror is None:
        return None
    return next((mirror / name for name in names if (mirror / name).is_file()), None)


def check_sum(path: Path, expected: str, name: object = None) -> None:
    """Compare a file's SHA-256 with the one expected.

    Raises:
        KDError: they differ; the message calls the file `name`.
    """
    found = sha256(path)
    if found != expected:
        raise KDError(
            f"{name or path} has SHA-256 {found}, expected {expected}; altered or truncated"
        )


def fetch(
    target: Path, *, urls: Sequence[str], expected: str, mirror: Path | None, mirror_name: str
) -> None:
    """Bring one file to `target`: from the mirror, else from the first URL that works.

    Args:
        expected: SHA-256 of the file.
        mirror: local folder, or None.
        mirror_name: the file's path below the mirror.

    Raises:
        KDError: no source has the file, or the copy found is not the expected one.
    """
    local = find_in_mirror(mirror, [mirror_name])
    if local is not None:
        check_sum(local, expected)
        with atomic_path(target) as temporary:
            shutil.copyfile(local, temporary)
        return
    reasons = []
    for url in urls:
        try:
            with atomic_path(target) as temporary:
                _download(url, temporary)
                check_sum(temporary, expected, url)
            return
        except KDError as error:
            reasons.append(str(error))
    raise KDError(not_found(target.name, reasons, mirror, mirror_name))


def _download(url: str, target: Path) -> None:
    """One file, with a progress bar; a broken connection is tried again, a refusal is not."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            pooch.HTTPDownloader(progressbar=True, timeout=60)(url, str(target), None)
            return
        except requests.RequestException as error:
            answer = error.response if isinstance(error, requests.HTTPError) else None
            if answer is not None or attempt == ATTEMPTS:
                status = f" {answer.status_code}" if answer is not None else ""
                raise KDError(f"{url} ({type(error).__name__}{status})") from None
            time.sleep(2**attempt)


def not_found(name: str, reasons: Sequence[str], mirror: Path | None, mirror_name: str) -> str:
    """One line: which file, what was tried, which setting helps."""
    tried = "; ".join(reasons)
    looked = f"; the mirror {mirror} has no {mirror_name}" if mirror else ""
    return (
        f"cannot get {name}: tried {tried}{looked}. Without network, set data_mirror in the "
        f"configuration or {MIRROR_VARIABLE} to a folder that holds {mirror_name}"
    )
