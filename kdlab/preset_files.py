"""A preset's file: YAML in which presets and entries extend others, section laid over section."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import yaml

from kdcore.embeddings import EMBEDDINGS
from kdcore.errors import KDError
from kdcore.kinds import unknown
from kdcore.learners import LEARNERS
from kdcore.transforms import TRANSFORMS
from kdlab.figures import FIGURES
from kdlab.texts import TEXTS
from kdlab.vectors import VECTORS

T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """YAML in which a key stands once."""


# The tag of the key `<<`, which brings the keys of another section.
MERGE = "tag:yaml.org,2002:merge"


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    # Before those of `<<` come, which the section's own may replace.
    own = [key for key, _ in node.value if key.tag != MERGE]
    keys = [loader.construct_object(key, deep=True) for key in own]
    for key in keys:
        if keys.count(key) > 1:
            line = node.start_mark.line + 1
            raise KDError(f"the key {key!r} stands twice in the section at line {line}")
    loader.flatten_mapping(node)
    return dict(loader.construct_pairs(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_preset(path: Path, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A preset's file as a mapping, `extends` resolved.

    Args:
        config: the file's own values as Snakemake has them; where they differ from those in the
            file, its command line says so, which is laid over all else.

    Raises:
        KDError: it is missing, is not YAML, has a key twice, or extends itself.
    """
    values = _resolved(path, ())
    if config is None:
        return values
    own = {key: value for key, value in config.items() if key != "extends"}
    return merged(values, _changed(_values(path), own))


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What a section has otherwise than before; what it no longer has is not told."""
    found: dict[str, Any] = {}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            found |= {key: inner} if (inner := _changed(old, value)) else {}
        elif key not in before or value != old:
            found[key] = value
    return found


def checked(
    file: Path, check: Callable[[dict[str, Any]], T], config: Mapping[str, Any] | None = None
) -> T:
    """What a check makes of a preset.

    Args:
        check: takes the values that `read_preset` gives, and raises KDError where it refuses them.

    Raises:
        KDError: one line that begins with the file that is at fault: of those that the preset
            extends, the last that is refused in the same words.
    """
    values = read_preset(file, config)
    try:
        return check(values)
    except KDError as error:
        raise KDError(f"{_at_fault(file, check, str(error))}: {error}") from None


def _at_fault(file: Path, check: Callable[[dict[str, Any]], object], told: str) -> Path:
    base = _base(file, _values(file))
    if base:
        try:
            check(read_preset(base))
        except KDError as error:
            if str(error) == told:
                return _at_fault(base, check, told)
    return file


def _base(file: Path, values: Mapping[str, Any]) -> Path | None:
    """The file that a preset extends."""
    name = values.get("extends")
    if name is None:
        return None
    known = sorted(other.stem for other in file.parent.glob("*.yaml") if other != file)
    if name not in [*known, file.stem]:
        raise KDError(f"{file}: extends: " + unknown("preset", name, known))
    return file.with_name(f"{name}.yaml")


def _resolved(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path in seen:
        circle = " → ".join(file.name for file in (*seen, path))
        raise KDError(f"{seen[0]}: extends goes in a circle: {circle}")
    values = _values(path)
    base = _base(path, values)
    values.pop("extends", None)
    if base:
        values = merged(_resolved(base, (*seen, path)), values)
    return values


def _values(path: Path) -> dict[str, Any]:
    """What the file itself says."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise KDError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise KDError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except KDError as error:
        raise KDError(f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise KDError(f"{path}: must be a mapping of keys to values")
    return values


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A section with another laid over it, key by key; lists and values are replaced whole.

    A null takes a section or a list away. Of a section whose kind is another one, what the new kind
    has too stays.
    """
    found = dict(base)
    if over.get("kind", base.get("kind")) != base.get("kind"):
        known = _settings_of_kind(base.get("kind"), over["kind"])
        found = {key: value for key, value in base.items() if known is None or key in known}
    for key, value in over.items():
        before = found.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            found[key] = merged(before, value)
        elif isinstance(before, Mapping | list) and value is None:
            del found[key]
        else:
            found[key] = deepcopy(value)
    return found


def _settings_of_kind(old: object, new: object) -> set[str] | None:
    """The settings of a new kind, among the kinds that have the old one; None: there is none."""
    for kinds in (TEXTS, VECTORS, LEARNERS, TRANSFORMS, EMBEDDINGS, FIGURES):
        names = kinds.names()
        if old in names and new in names:
            return {"kind", *kinds.load(str(new)).Settings.model_fields}
    return None


EXTENDABLE = (
    "models", "codes", "embeddings", "methods", "tables", "sweeps", "reconstructions", "figures",
)  # fmt: skip


def with_entries_extended(values: Mapping[str, Any]) -> dict[str, Any]:
    """Entries that extend another of their section, resolved.

    Raises:
        KDError: an entry extends one that there is not, or itself.
    """
    found = dict(values)
    for section in EXTENDABLE:
        entries = values.get(section)
        if isinstance(entries, Mapping):
            found[section] = {name: _extended(section, name, entries, ()) for name in entries}
    return found


def _extended(section: str, name: str, entries: Mapping[str, Any], seen: tuple[str, ...]) -> Any:
    if name in seen:
        circle = " → ".join((*seen, name))
        raise KDError(f"{section}.{seen[0]}: extends goes in a circle: {circle}")
    entry = entries[name]
    if not isinstance(entry, Mapping) or "extends" not in entry:
        return entry
    base = entry["extends"]
    if base not in list(entries):
        where = f"{section}.{name}.extends: "
        raise KDError(where + unknown(f"entry of {section}", base, list(entries)))
    under = _extended(section, base, entries, (*seen, name))
    if not isinstance(under, Mapping):
        raise KDError(f"{section}.{base} must be a section of keys and values, got {under!r}")
    own = {key: value for key, value in entry.items() if key != "extends"}
    return merged(under, own)
