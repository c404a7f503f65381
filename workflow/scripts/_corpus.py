"""Writing a corpus and saying what is in it."""

from pathlib import Path

from _script import log

from kdlab.corpus import SPLITS, Corpus


def write(text: Corpus, path: Path) -> None:
    """Store a corpus and log its size."""
    text.save(path)
    tokens = ", ".join(f"{split} {len(getattr(text, split)):,}" for split in SPLITS)
    log.info("%d words; tokens: %s; data hash %s", len(text.words), tokens, text.digest[:16])
