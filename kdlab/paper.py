"""What the paper prints, to stand beside what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kdlab.provenance import ROOT

# In the project, for rules and scripts.
NUMBERS = Path("config/paper_numbers.yaml")


@dataclass(frozen=True)
class Size:
    """The size that Table 1 prints for a transform in a language model, and its compression rate.

    Attributes:
        model: the paper's name of the language model.
        dim: length of its word vectors.
        transform: kind of transform.
        label: what the paper calls the transform.
        params: parameters of the embedding.
        rate: of those of the full table.
    """

    model: str
    dim: int
    transform: str
    label: str
    params: int
    rate: float


def table1(file: Path = ROOT / NUMBERS) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """`ppl`, `params` and `rate`, by the paper's language model and by method."""
    found: Mapping[str, Any] = _read(file)["table1"]
    return found


def sizes(file: Path = ROOT / NUMBERS) -> list[Size]:
    """The sizes of Table 1, each once."""
    return [Size(**size) for size in _read(file)["sizes"]]


def _read(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))
