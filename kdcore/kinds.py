"""Kinds: what varies is named in settings, and a kind is one file.

A folder of kinds is a package; every module in it is a kind and is called by its file's name. A
module holds `NUMERICS`, the version of what it computes, and `Settings`, what can be set.
"""

import difflib
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Generic, Self, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from kdcore.errors import KDError


class Section(BaseModel):
    """Settings: typed, documented, unknown keys refused.

    A number, true, false or null may be written as text, as command lines do: `"2"`, `1e-3`,
    `1/1.15`; in lists and mappings, too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keys_and_numbers(cls, values: Any) -> Any:
        return _checked_keys(cls, values)


def _checked_keys(cls: type[BaseModel], values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    known = cls.model_fields
    for name in values:
        if name not in known:
            raise KDError(unknown("key", name, list(known)))
    return {name: _from_text(known[name].annotation, v) for name, v in values.items()}


class KindSettings(Section):
    """Settings of a kind; written with `kind`, the name of the module that defines them."""

    @property
    def kind(self) -> str:
        """The kind's name."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def module(self) -> ModuleType:
        """The kind's module."""
        return import_module(type(self).__module__)

    @property
    def needs(self) -> frozenset[str]:
        """What the kind has to be given beside its settings, for example `codes`."""
        return frozenset()

    def check_shape(self, dim: int, D: int | None) -> None:
        """Refuse sizes that the kind cannot have, before anything is computed.

        Any will do, as here.

        Args:
            dim: size of a vector.
            D: indices in a code; None: there are no codes, or their shape is not known yet.

        Raises:
            KDError: the kind's settings do not go with these sizes.
        """

    @model_validator(mode="before")
    @classmethod
    def _keys_and_numbers(cls, values: Any) -> Any:
        return _checked_keys(cls, _without_kind(values))

    @model_serializer(mode="wrap")
    def _with_kind(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"kind": self.kind, **dump(self)}

    def changed(self, **values: Any) -> Self:
        """The same settings but for some values, checked again."""
        return type(self).model_validate({**self.model_dump(), **values})


def _without_kind(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {name: value for name, value in values.items() if name != "kind"}
    return values


# What YAML calls them.
CONSTANTS = {"true": True, "false": False, "null": None}


def _from_text(annotation: Any, value: Any) -> Any:
    """What stands for a value of this type: itself, or what it says as text."""
    wanted = {annotation, *get_args(annotation)}
    if isinstance(value, list):
        inner = _inner(list, wanted)
        return [_from_text(inner, entry) for entry in value] if inner else value
    if isinstance(value, Mapping):
        inner = _inner(dict, wanted)
        return {k: _from_text(inner, entry) for k, entry in value.items()} if inner else value
    if not isinstance(value, str) or str in wanted:
        return value
    if value in CONSTANTS:
        constant = CONSTANTS[value]
        return constant if type(constant) in wanted else value
    return _as_number(wanted, value)


def _inner(origin: type, wanted: set[Any]) -> Any:
    """What the wanted list or mapping holds; None where none is wanted, or several are."""
    found = [get_args(one)[-1] for one in wanted if get_origin(one) is origin]
    return found[0] if len(found) == 1 else None


def _as_number(wanted: set[Any], value: str) -> Any:
    if not wanted & {int, float}:
        return value
    try:
        number = Fraction(value) if value.count("/") != 1 else _quotient(value)
    except (ValueError, ZeroDivisionError):
        return value
    if int in wanted and number.denominator == 1:
        return int(number)
    return float(number) if float in wanted else value


def _quotient(text: str) -> Fraction:
    over, under = text.split("/")
    return Fraction(over.strip()) / Fraction(under.strip())


Settings = TypeVar("Settings", bound=KindSettings)


class Kinds(Generic[Settings]):
    """The kinds in a package.

    A field of settings that holds settings of one of these kinds is annotated with it:
    `transform: Annotated[KindSettings, TRANSFORMS]`; `KindSettings | None` where it may be null.

    Args:
        package: its name, for example `kdcore.learners`.
        noun: what one of them is called in messages.

    Example:
        >>> TRANSFORMS.parse({"kind": "linear", "code_dim": 200}).code_dim
        200
    """

    def __init__(self, package: str, noun: str):
        self.package, self.noun = package, noun

    def names(self) -> list[str]:
        """All kinds, in alphabetical order."""
        return list(_modules(self.package))

    def load(self, name: str) -> ModuleType:
        """The module of a kind.

        Raises:
            KDError: there is no such kind; the message names the nearest one.
        """
        if name not in self.names():
            raise KDError(unknown(f"{self.noun} kind", name, self.names()))
        return import_module(f"{self.package}.{name}")

    def parse(self, values: Any, where: str = "") -> Settings:
        """Settings from a mapping with `kind`, checked.

        Raises:
            KDError: no kind, an unknown kind or key, a wrong type or range; begins with `where`.
        """
        try:
            return self._parse(values)
        except ValidationError as error:
            raise KDError.of_settings(error, where) from None
        except KDError as error:
            raise KDError(f"{where}: {error}" if where else str(error)) from None

    def _parse(self, values: Any) -> Settings:
        if isinstance(values, KindSettings):
            values = values.model_dump()
        if not isinstance(values, Mapping):
            raise KDError(f"must be a section with a kind, got {values!r}")
        if "kind" not in values:
            raise KDError(f"must have a kind, one of {', '.join(self.names())}")
        module = self.load(values["kind"])
        parsed: Settings = module.Settings.model_validate(values)
        return parsed

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        optional = type(None) in get_args(source)

        def parse(values: Any) -> Settings | None:
            return None if optional and values is None else self._parse(values)

        written = PlainSerializer(lambda settings: settings and settings.model_dump())
        return handler.generate_schema(Annotated[Any, PlainValidator(parse), written])


@cache
def _modules(package: str) -> tuple[str, ...]:
    found = find_spec(package)
    places = found.submodule_search_locations if found else None
    files = [file for place in places or [] for file in Path(place).glob("*.py")]
    return tuple(sorted(file.stem for file in files if not file.stem.startswith("_")))


def unknown(noun: str, name: object, known: list[str]) -> str:
    """One line about an unknown name: the nearest known one, else all of them."""
    near = difflib.get_close_matches(str(name), known, 1)
    names = ", ".join(sorted(known)) or "none"
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {names}"
    return f"{noun} {name!r} is unknown; {hint}"
