"""Texts: where the three splits come from, one file a kind."""

from pathlib import Path

from kdcore.kinds import Kinds, KindSettings

# Training tokens of the Penn Treebank, and the bytes of their file.
PTB_TOKENS, PTB_BYTES = 929_589, 5_101_618


class TextSettings(KindSettings):
    """Settings of a text."""

    @property
    def files(self) -> dict[str, Path]:
        """The user's own files that are read, by split; their content is part of an address."""
        return {}

    @property
    def places(self) -> frozenset[str]:
        """Settings that say where files are: their content counts in an address, not their name."""
        return frozenset()

    @property
    def floor_perplexity(self) -> float | None:
        """The perplexity below which no model of the text comes, where it is known."""
        return None

    @property
    def remark(self) -> str | None:
        """What results on the text can show and what not, where that has to be said."""
        return None

    @property
    def tokens(self) -> int:
        """Training tokens, about: what run times are estimated from."""
        train = self.files.get("train")
        if train is None or not train.is_file():
            return PTB_TOKENS
        return max(1, round(train.stat().st_size * PTB_TOKENS / PTB_BYTES))


TEXTS: Kinds[TextSettings] = Kinds("kdlab.texts", "text")
