"""A table that jobs of Snakemake compress: its settings, and where its parts are."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from kdcore.compressing import FormName
from kdcore.errors import KDError
from kdcore.files import fingerprint
from kdcore.kinds import Section

TARGETS = ("ratio", "bits_per_word", "size")


class Compression(Section):
    """What is compressed, to what size, and in how many jobs."""

    table: str = Field(description="file of vectors")
    out: str = Field(description="file to write")
    words: str | None = Field(None, description="a word a line, for a table without words")
    ratio: float | None = Field(None, gt=0, description="times smaller than in float32")
    bits_per_word: float | None = Field(None, gt=0, description="stored bits over words")
    size: float | None = Field(None, gt=0, description="stored bytes")
    forms: list[FormName] | None = Field(
        None, min_length=1, description="forms that may be chosen; null: all"
    )
    seed: int = Field(0, description="of all random choices")
    blocks: int = Field(1, gt=0, description="jobs that encode rows")
    threads: int = Field(1, gt=0, description="CPU threads of a job")

    @field_validator("table", "out", "words")
    @classmethod
    def _as_meant(cls, path: str | None) -> str | None:
        return path and os.path.normpath(os.path.expanduser(path))

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) != 1:
            raise KDError(
                f"exactly one of {', '.join(TARGETS)} must be given, got "
                + (", ".join(given) or "none")
            )
        return self

    @classmethod
    def of(cls, config: Mapping[str, Any], where: str) -> Self:
        """The settings of a configuration, checked.

        Raises:
            KDError: one line that begins with `where`.
        """
        try:
            made = cls.model_validate(config)
        except ValidationError as error:
            raise KDError(f"{where}: {KDError.of_settings(error, '')}") from None
        except KDError as error:
            raise KDError(f"{where}: {error}") from None
        return made

    @property
    def files(self) -> list[str]:
        """Those that are read; a table's name may stand behind a colon."""
        before, colon, _ = self.table.rpartition(":")
        table = before if colon and not Path(self.table).exists() else self.table
        return [table, *([self.words] if self.words else [])]

    @property
    def options(self) -> dict[str, Any]:
        """What the compressor is told."""
        names = (*TARGETS, "forms", "seed")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def folder(self) -> str:
        """Where parts of this compression are."""
        told = [self.table, self.words, self.options, self.blocks, self.threads]
        return f"runs/compressed/{fingerprint(told)}"
