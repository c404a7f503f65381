"""Write what is derived from elsewhere in the project.

config/README.md and config/schema.json from the typed schema, the README's Table 1 from the
results, workflow/environment.yaml from the pinned requirements.

Run it after a change to a setting or a new result: `python -m kdlab.document`.
"""

import json
import types
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from kdcore.files import write_text
from kdlab.preset import Preset
from kdlab.provenance import ROOT

INTRODUCTION = """\
# Configuration

One file per preset: `paper.yaml` is what `snakemake` uses by itself, `demo.yaml` is the demo,
`paper_numbers.yaml` holds what the paper prints. Choose a preset with
`snakemake --configfile config/demo.yaml`; change a single key for one run with
`snakemake --config partial=true` or, deeper down, by copying the file and editing it.

A wrong key, type or range is one line before any work starts. YAML reads `1e-3` as text:
write `1.0e-3`. Repeat a section rather than use an alias (`*name`): `dvc exp run -S` loses a
change to what an alias repeats.

This page is generated from the schema (`python -m kdlab.document`); editors that know
`schema.json` complete and check the keys.
"""


def schema() -> str:
    """The JSON schema, for editors."""
    return json.dumps(Preset.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def readme() -> str:
    """Every key with its type, default and meaning."""
    lines = [INTRODUCTION]
    waiting: list[tuple[str, type[BaseModel]]] = [("", Preset)]
    seen: set[type[BaseModel]] = set()
    while waiting:
        prefix, model = waiting.pop(0)
        lines.append(f"## {f'`{prefix}`' if prefix else 'Top level'}\n")
        if model.__doc__:
            lines.append(model.__doc__.strip().splitlines()[0] + "\n")
        lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        for name, field in model.model_fields.items():
            sections = _sections(field.annotation)
            path = f"{prefix}.{name}" if prefix else name
            meaning = field.description or (sections[0].__doc__ or "").strip().splitlines()[0]
            limits = ", ".join(_limit(m) for m in field.metadata if _limit(m))
            lines.append(
                f"| `{name}` | {_type(field.annotation)}{f', {limits}' if limits else ''} | "
                f"{_default(field)} | {meaning} |"
            )
            for section in sections:
                kind = f"{path}.<name>" if get_origin(field.annotation) is dict else path
                kind = f"{path}[]" if get_origin(field.annotation) is list else kind
                if len(sections) > 1:
                    kind += f" (kind: {get_args(section.model_fields['kind'].annotation)[0]})"
                if section not in seen:
                    waiting.append((kind, section))
                    seen.add(section)
        lines.append("")
    return "\n".join(lines)


def _sections(annotation) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [s for part in get_args(annotation) for s in _sections(part)]


def _type(annotation) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "null"
    if origin is Annotated:
        return _type(parts[0])
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(part) for part in parts))
    if origin is list:
        return f"list of {_type(parts[0])}"
    if origin is dict:
        return f"name: {_type(parts[1])}"
    if issubclass(annotation, BaseModel):
        return "section"
    return {"str": "text", "bool": "true or false", "int": "integer", "float": "number"}[
        annotation.__name__
    ]


def _limit(metadata) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    return " ".join(
        f"{sign} {getattr(metadata, name):g}"
        for name, sign in signs.items()
        if getattr(metadata, name, None) is not None
    )


def _default(field) -> str:
    if field.default is not PydanticUndefined:
        return f"`{json.dumps(field.default)}`"
    return "its defaults" if field.default_factory else "required"


def with_table1(text: str, table: str) -> str:
    """The project's README with the paper preset's Table 1 between its two marks."""
    before, _, rest = text.partition("<!-- table1 -->")
    _, _, after = rest.partition("<!-- end of table1 -->")
    return f"{before}<!-- table1 -->\n{table}<!-- end of table1 -->{after}"


def environment() -> str:
    """A conda environment with what the jobs need, for Snakemake's --software-deployment-method."""
    jobs, _, _ = (ROOT / "requirements.in").read_text("utf-8").partition("# Around them:")
    pins = dict(
        line.split("==") for line in (ROOT / "requirements.lock").read_text("utf-8").lower().split()
        if "==" in line
    )  # fmt: skip
    names = [line.partition("==")[0] for line in jobs.splitlines() if not line.startswith("#")]
    lines = [f"      - {name}=={pins[name.partition('[')[0]]}" for name in names]
    head = "# Derived from requirements.in and requirements.lock: python -m kdlab.document\n"
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
    page, table = ROOT / "README.md", ROOT / "results" / "paper" / "table1.md"
    if table.exists():
        write_text(page, with_table1(page.read_text("utf-8"), table.read_text("utf-8")))


if __name__ == "__main__":
    main()
