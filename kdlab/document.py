"""Write what is derived from elsewhere in the project.

config/README.md and config/schema.json from the typed schema and the kinds that there are,
workflow/environment.yaml from the pinned requirements, and what the README and the pages of docs/
show of the results.

Run it after a change to a setting or a new result: `python -m kdlab.document`.
"""

import inspect
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticUndefined

from kdcore.errors import KDError
from kdcore.files import write_text
from kdcore.kinds import Kinds, KindSettings
from kdlab.preset import Preset
from kdlab.preset_files import EXTENDABLE
from kdlab.provenance import ROOT
from kdlab.shown_results import drawn

INTRODUCTION = """\
# Configuration

One file per preset, `config/<name>.yaml`, which is then called `<name>`: `paper.yaml` is what
`snakemake` uses by itself, `demo.yaml` is the demo. (`paper_numbers.yaml` holds what the paper
prints.) Choose a preset with `snakemake --configfile config/demo.yaml`; change a single key for one
run with `snakemake --config partial=true`.

Everything that varies has a name: language models, codes, embeddings, methods (a pair of the two),
tables, sweeps, figures. `extends: other` at the top takes over another preset of this folder, and
in an entry another entry of its section. What stands beside `extends` is laid over it, key by key;
lists are replaced, and `null` takes a section or a list away. Entries can be extended in
{extendable}.

`kind` names a file in the folder of such kinds; what can be set depends on it. A wrong key, type or
range is refused in one line before any work starts.

This page is generated from the schema (`python -m kdlab.document`); editors that know
`schema.json` complete and check the keys.
"""


# The reference.


def readme() -> str:
    """Every key with its type, default and meaning, and every kind with its settings."""
    quoted = [f"`{name}`" for name in EXTENDABLE]
    extendable = f"{', '.join(quoted[:-1])} and {quoted[-1]}"
    lines = [INTRODUCTION.format(extendable=extendable)]
    waiting: list[tuple[str, type[BaseModel]]] = [("", Preset)]
    seen: set[type[BaseModel]] = set()
    while waiting:
        path, model = waiting.pop(0)
        lines.append(f"## {_heading(path, model)}\n")
        lines += _section(path, model)
        for name, field in model.model_fields.items():
            place = f"{path}.{name}" if path else name
            if get_origin(field.annotation) is dict:
                place += ".<name>"
            elif get_origin(field.annotation) is list:
                place += "[]"
            for section in _sections(field):
                if section not in seen:
                    waiting.append((place, section))
                    seen.add(section)
    return "\n".join(lines).rstrip() + "\n"


def _heading(path: str, model: type[BaseModel]) -> str:
    if not path:
        return "Top level"
    if not issubclass(model, KindSettings):
        return f"`{path}`"
    return f"`{path}`, kind `{model.__module__.rpartition('.')[2]}`"


def _section(path: str, model: type[BaseModel]) -> list[str]:
    lines = []
    if issubclass(model, KindSettings):
        module = inspect.getmodule(model)
        lines.append(_first_line(inspect.getdoc(module)) + "\n")
        package, _, kind = model.__module__.rpartition(".")
        lines.append(f"Defined in `{package.replace('.', '/')}/{kind}.py`.\n")
    elif path:
        lines.append(_first_line(model.__doc__) + "\n")
    if not model.model_fields:
        return [*lines, "There is nothing to set.\n"]
    lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        limits = ", ".join(limit for limit in map(_limit, field.metadata) if limit)
        lines.append(
            f"| `{name}` | {_type(field)}{f', {limits}' if limits else ''} | {_default(field)} | "
            f"{field.description} |"
        )
    return [*lines, ""]


def _first_line(text: str | None) -> str:
    paragraph = (text or "").strip().split("\n\n")[0]
    return " ".join(paragraph.split())


def _annotations(annotation: Any, metadata: tuple[Any, ...] = ()) -> Iterator[Any]:
    """A type and the types in it; instead of settings of kinds, the kinds."""
    if get_origin(annotation) is Annotated:
        inner, *metadata_ = get_args(annotation)
        yield from _annotations(inner, tuple(metadata_))
        return
    kinds = next((entry for entry in metadata if isinstance(entry, Kinds)), None)
    if kinds is not None:
        yield kinds
        return
    yield annotation
    for part in get_args(annotation):
        yield from _annotations(part)


def _sections(field: FieldInfo) -> list[type[BaseModel]]:
    """Sections that a field holds: of a field of kinds, one for each kind."""
    found: list[type[BaseModel]] = []
    for part in _annotations(field.annotation, tuple(field.metadata)):
        if isinstance(part, Kinds):
            found += [part.load(name).Settings for name in part.names()]
        elif isinstance(part, type) and issubclass(part, BaseModel):
            found.append(part)
    return found


def _type(field: FieldInfo) -> str:
    return _name(field.annotation, tuple(field.metadata))


def _name(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    first = next(_annotations(annotation, metadata))
    if isinstance(first, Kinds):
        return "section with a `kind`" + (" or null" if _may_be_null(annotation) else "")
    if get_origin(annotation) is Annotated:
        return _name(get_args(annotation)[0])
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "null"
    if annotation is Any:
        return "any"
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_name(part) for part in parts))
    if origin is list:
        return f"list of {_name(parts[0])}"
    if origin is dict:
        return "section" if parts[1] is Any else f"name: {_name(parts[1])}"
    if issubclass(annotation, BaseModel):
        return "section"
    return {"str": "text", "bool": "true or false", "int": "integer", "float": "number"}[
        annotation.__name__
    ]


def _may_be_null(annotation: Any) -> bool:
    return type(None) in get_args(annotation)


def _limit(metadata: Any) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    return " ".join(
        f"{sign} {getattr(metadata, name):g}"
        for name, sign in signs.items()
        if getattr(metadata, name, None) is not None
    )


def _default(field: FieldInfo) -> str:
    if field.default is not PydanticUndefined:
        value = field.default
        if isinstance(value, BaseModel):
            return "its defaults"
        return f"`{json.dumps(value)}`"
    return "its defaults" if field.default_factory else "required"


# The schema for editors.


class _OpenWhereKinds(GenerateJsonSchema):
    """Leaves fields of kinds open; `_with_kinds` then says what they can be."""

    def function_plain_schema(self, schema: Any) -> dict[str, Any]:
        return {}


def schema() -> str:
    """The JSON schema of a preset's file."""
    found = Preset.model_json_schema(schema_generator=_OpenWhereKinds)
    definitions = found.setdefault("$defs", {})
    _with_kinds(Preset, found, definitions)
    properties = found["properties"]
    for section in EXTENDABLE:
        entries = next(iter(properties[section]["patternProperties"].values()))
        for entry in entries.get("anyOf", [entries]):
            name = entry["$ref"].rpartition("/")[2]
            definitions[f"{name}.entry"] = _extending(definitions[name], section)
            entry["$ref"] = f"#/$defs/{name}.entry"
    properties["extends"] = {"type": "string", "description": "another preset of this folder"}
    figures = properties["figures"]
    by_name = {"type": "object", "patternProperties": figures.pop("patternProperties")}
    figures.pop("type")
    names = {"type": "array", "items": {"type": ["string", "object"]}}
    figures["anyOf"] = [by_name, names]
    row = definitions["Row"]
    definitions["Row"] = {"anyOf": [{"type": "string"}, row]}
    found.pop("required", None)
    return json.dumps(_numbers_as_text(found), indent=2, ensure_ascii=False) + "\n"


def _extending(definition: dict[str, Any], section: str) -> dict[str, Any]:
    """An entry that may take over another, so that nothing is required in it."""
    extends = {"type": "string", "description": f"another entry of {section}"}
    properties = {"extends": extends, **definition.get("properties", {})}
    return {k: v for k, v in definition.items() if k != "required"} | {"properties": properties}


def _with_kinds(model: type[BaseModel], schema: dict[str, Any], definitions: dict) -> None:
    """Say of fields of kinds, which Pydantic leaves open, what each kind can have."""
    for name, field in model.model_fields.items():
        parts = list(_annotations(field.annotation, tuple(field.metadata)))
        kinds = next((part for part in parts if isinstance(part, Kinds)), None)
        if kinds is not None:
            refs = []
            for kind in kinds.names():
                key = f"{kinds.package}.{kind}"
                refs.append({"$ref": f"#/$defs/{key}"})
                if key not in definitions:
                    definitions[key] = {}
                    definitions[key] |= _of_kind(kinds.load(kind).Settings, kind, definitions)
            place = schema["properties"][name]
            if "patternProperties" in place:
                place["patternProperties"] = dict.fromkeys(place["patternProperties"])
                for pattern in place["patternProperties"]:
                    place["patternProperties"][pattern] = {"anyOf": refs}
            else:
                none = [{"type": "null"}] if _may_be_null(field.annotation) else []
                place["anyOf"] = [*refs, *none]
        for part in parts:
            if isinstance(part, type) and issubclass(part, BaseModel):
                _with_kinds(part, definitions[part.__name__], definitions)


def _of_kind(settings: type[KindSettings], kind: str, definitions: dict) -> dict[str, Any]:
    found = settings.model_json_schema(schema_generator=_OpenWhereKinds)
    definitions |= found.pop("$defs", {})
    _with_kinds(settings, found, definitions)
    found["properties"] = {"kind": {"const": kind}, **found.get("properties", {})}
    # What an entry extends may have the rest of it.
    found.pop("required", None)
    return found


def _numbers_as_text(value: Any) -> Any:
    """Numbers may be written as text, `1/1.15`, as `Section` takes them."""
    if isinstance(value, list):
        return [_numbers_as_text(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    found = {key: _numbers_as_text(entry) for key, entry in value.items()}
    if found.get("type") in ("number", "integer"):
        found["type"] = [found["type"], "string"]
    return found


# Other pages.


def pages() -> list[Path]:
    """The pages that can show results: the README and all in docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def environment() -> str:
    """A conda environment with what the jobs need, for Snakemake's --software-deployment-method."""
    jobs, _, _ = (ROOT / "requirements.in").read_text("utf-8").partition("# Around them:")
    pins = dict(
        line.split("==") for line in (ROOT / "requirements.lock").read_text("utf-8").lower().split()
        if "==" in line
    )  # fmt: skip
    names = [line.partition("==")[0] for line in jobs.splitlines() if not line.startswith("#")]
    lines = [f"      - {name}=={pins[name.partition('[')[0]]}" for name in names]
    head = (
        "# Nobody has made an environment of this file yet.\n"
        "# Derived from requirements.in and requirements.lock: python -m kdlab.document\n"
    )
    return (
        head
        + "channels: [conda-forge]\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n"
        + ("\n".join(lines) + "\n")
    )


def main() -> None:
    """Write the pages."""
    folder = ROOT / "config"
    write_text(ROOT / "workflow" / "environment.yaml", environment())
    write_text(folder / "README.md", readme())
    write_text(folder / "schema.json", schema())
    for page in pages():
        text = page.read_text("utf-8")
        try:
            if (new := drawn(text)) != text:
                write_text(page, new)
        except KDError as error:
            sys.exit(f"error: {page.relative_to(ROOT)}: {error}")


if __name__ == "__main__":
    main()
