"""Addresses: what a run is of, as a hash.

A run's address is the hash of its settings, of the versions of what computes it (`NUMERICS`), of
the user's own files that it reads, and of the addresses of what it starts from. So a file is at its
address or it is not: nothing can be out of date.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from kdcore.files import fingerprint
from kdcore.kinds import KindSettings

# Where runs lie, and where published ones do.
RUNS, PUBLISHED = "runs", "measurements"


def identity(settings: BaseModel, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """What settings say of a result: all that is not at its default, and versions of kinds.

    A setting that is added later, at a default that changes nothing, leaves addresses as they are.
    A test pins the defaults.

    Args:
        without: fields that name other entries, whose addresses count in their place.
    """
    found: dict[str, Any] = {}
    if isinstance(settings, KindSettings):
        found = {"kind": settings.kind, "numerics": settings.module.NUMERICS}
    for name, info in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name in without:
            continue
        default = info.get_default(call_default_factory=True)
        if isinstance(value, KindSettings) or value != default:
            found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    """A value of settings, the sections in it by their identity."""
    if isinstance(value, BaseModel):
        return identity(value)
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """Something that is computed once: a text's index, vectors, codes, a trained model.

    Attributes:
        stage: folder below runs/: texts, vectors, codes, models, retrained or clustering.
        title: what messages call it.
        settings: what its script is given, JSON-like.
        spec: what its address is the hash of, beside the addresses of `inputs`.
        inputs: what it starts from, by role.
        names: what it is called in the preset (model, method, seed), and of codes whether they are
            of the text's words (of_text); not part of its address.
    """

    stage: str
    title: str
    settings: dict[str, Any]
    spec: dict[str, Any]
    inputs: dict[str, "Run"] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The whole of what the address is the hash of."""
        return {
            "stage": self.stage,
            **self.spec,
            "inputs": {role: run.address for role, run in sorted(self.inputs.items())},
        }

    @cached_property
    def address(self) -> str:
        """16 hexadecimal digits."""
        return fingerprint(self.identity)

    @property
    def folder(self) -> str:
        """Where its files are, relative to the project."""
        return f"{RUNS}/{self.stage}/{self.address}"

    def path(self, name: str) -> str:
        """One of its files."""
        return f"{self.folder}/{name}"

    def find(self, name: str, published: bool = True) -> str:
        """Where a file is to be read: of the run, or else, if it is there, as published."""
        there = f"{PUBLISHED}/{self.address}/{name}"
        here = self.path(name)
        return there if published and not Path(here).exists() and Path(there).exists() else here

    def exists(self, name: str, published: bool = True) -> bool:
        """Whether a file of it is there."""
        return Path(self.find(name, published)).exists()

    def __repr__(self) -> str:
        return f"Run({self.folder}: {self.title})"

    def __hash__(self) -> int:
        return hash(self.address)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self.address == other.address


def upstream(runs: list[Run]) -> list[Run]:
    """Runs and all that they start from, once each, what is needed first."""
    found: dict[str, Run] = {}

    def visit(run: Run) -> None:
        if run.address not in found:
            for needed in run.inputs.values():
                visit(needed)
            found[run.address] = run

    for run in runs:
        visit(run)
    return list(found.values())
