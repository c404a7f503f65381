"""Text as integers: a vocabulary and the three splits of a corpus.

The Penn Treebank preparation of Mikolov et al. [15], which Section 3 of the paper uses,
is a special case of a folder of three plain-text files.
"""

import hashlib
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import torch

from kdcore.errors import KDError
from kdcore.tensors import load_tensors, save_tensors

EOS = "<eos>"
UNK = "<unk>"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Corpus:
    """One text in three splits.

    Attributes:
        words: the vocabulary; a word's index is its id. Falling frequency in the training
            split, ties in alphabetical order.
        train, valid, test: token ids, int64, one stream each, `<eos>` after every line.
        digest: SHA-256 over the words and the ids; identifies the data in every result.
    """

    words: tuple[str, ...]
    train: torch.Tensor
    valid: torch.Tensor
    test: torch.Tensor
    digest: str

    @property
    def counts(self) -> torch.Tensor:
        """How often each word occurs in the training split, int64."""
        return torch.bincount(self.train, minlength=len(self.words))

    @classmethod
    def from_lines(cls, lines: Mapping[str, Sequence[str]]) -> "Corpus":
        """Build a corpus from the lines of its `train`, `valid` and `test` splits.

        The vocabulary is that of the training split. Unknown words of the other splits
        become `<unk>`, which is added to the vocabulary when one occurs.

        Raises:
            KDError: a split is empty, or has `<eos>` already.
        """
        tokens = {
            split: [token for line in lines[split] for token in [*line.split(), EOS]]
            for split in SPLITS
        }
        for split in SPLITS:
            if set(tokens[split]) <= {EOS}:
                raise KDError(f"the {split} split has no words")
            if tokens[split].count(EOS) > len(lines[split]):
                raise KDError(
                    f"the {split} split has {EOS}, which every line gets here: leave it out"
                )
        counts = Counter(tokens["train"])
        words = sorted(counts, key=lambda word: (-counts[word], word))
        ids = {word: i for i, word in enumerate(words)}
        if UNK not in ids and any(t not in ids for s in SPLITS[1:] for t in tokens[s]):
            ids[UNK] = len(words)
            words.append(UNK)
        encoded = {
            split: torch.tensor([ids.get(t, ids.get(UNK)) for t in tokens[split]])
            for split in SPLITS
        }
        return cls(words=tuple(words), **encoded, digest=_digest(words, encoded))

    @classmethod
    def from_files(cls, files: dict[str, Path]) -> "Corpus":
        """Read a corpus from three UTF-8 text files, one sentence a line.

        A blank line is a sentence of no words.

        Raises:
            KDError: a file is missing, empty or no UTF-8 text; the line is named.

        Warns:
            UserWarning: there are unknown words, and the training split has no `<unk>` from
                which they could be learned.
        """
        lines = {}
        for split in SPLITS:
            try:
                text = Path(files[split]).read_text(encoding="utf-8-sig")
            except FileNotFoundError:
                raise KDError(f"{files[split]}: no such file (the {split} split)") from None
            except OSError as error:
                raise KDError(f"{files[split]}: {error.strerror} (the {split} split)") from None
            except UnicodeDecodeError as error:
                line = 1 + error.object[: error.start].count(b"\n")
                raise KDError(
                    f"{files[split]}, line {line}: must be UTF-8 text, has the byte "
                    f"0x{error.object[error.start]:02x}"
                ) from None
            if not text.strip():
                raise KDError(f"{files[split]}: empty (the {split} split)")
            if "\0" in text:
                line = 1 + text[: text.index("\0")].count("\n")
                raise KDError(f"{files[split]}, line {line}: must be text, has a NUL")
            lines[split] = text.removesuffix("\n").split("\n")
        corpus = cls.from_lines(lines)
        if UNK in corpus.words and not (corpus.train == (unk := corpus.words.index(UNK))).any():
            others = torch.cat([corpus.valid, corpus.test])
            warnings.warn(
                f"{int((others == unk).sum())} of {len(others)} tokens of the valid and test "
                f"splits are words that the train split has not, read as {UNK}, which nothing "
                f"trains: write {UNK} for rare words in all three files",
                stacklevel=2,
            )
        return corpus

    def check_words(self, words: Sequence[str], file: Path) -> None:
        """Whether the words of a file are those of this text, in its order.

        Raises:
            KDError: they are not; the message names the first that differs.
        """
        for row, (found, wanted) in enumerate(zip_longest(words, self.words)):
            if found != wanted:
                found, wanted = ("no word" if w is None else repr(w) for w in (found, wanted))
                raise KDError(
                    f"{file} must have the words of the text in their order, by falling frequency: "
                    f"in row {row} {wanted}, got {found}"
                )

    def save(self, path: str | Path) -> None:
        """Store the corpus in one file."""
        splits = {split: getattr(self, split).to(torch.int32) for split in SPLITS}
        header = {"kind": "corpus", "digest": self.digest, "words": list(self.words)}
        save_tensors(path, splits, header)

    @classmethod
    def load(cls, path: str | Path) -> "Corpus":
        """Read what `save` wrote.

        Raises:
            KDError: the file is missing, damaged, or its content does not match its digest.
        """
        tensors, header = load_tensors(path, "corpus", [*SPLITS, "words", "digest"])
        splits = {split: tensors[split].long() for split in SPLITS}
        if _digest(header["words"], splits) != header["digest"]:
            raise KDError(f"{path}: altered since it was written; delete it and run again")
        return cls(words=tuple(header["words"]), **splits, digest=header["digest"])


def _digest(words: Sequence[str], splits: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256("\n".join(words).encode())
    for split in SPLITS:
        digest.update(splits[split].to(torch.int32).numpy().tobytes())
    return digest.hexdigest()


def batches(stream: torch.Tensor, batch: int) -> torch.Tensor:
    """Lay one stream out as `batch` parallel ones, shape (steps, batch), time first.

    The tail that does not fill a row is dropped. Column b continues column b − 1.

    Raises:
        KDError: the stream is too short for two rows.
    """
    length = len(stream) // batch
    if length < 2:
        raise KDError(f"batch_size must leave two rows of {len(stream)} tokens, got {batch}")
    return stream[: length * batch].view(batch, length).t().contiguous()
