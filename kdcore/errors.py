"""Errors a user can mend."""

from typing import Any

from pydantic import ValidationError

# What a value must be, by pydantic's type of error; {} are values of its context.
RULES = {
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "int_parsing": "must be an integer",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be finite",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "dict_type": "must be a section of keys and values",
    "model_type": "must be a section of keys and values",
    "model_attributes_type": "must be a section of keys and values",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "must have at least {min_length} entries",
    "none_required": "must be null",
}


class KDError(ValueError):
    """Bad input, told in one line: what is wrong, where, and what to do."""

    @classmethod
    def of_settings(cls, error: ValidationError, what: str) -> "KDError":
        """One line for the first wrong key, type or range of settings called `what`.

        Example: `embeddings.low-rank.rank must be at least 1, got 0`.
        """
        first, *others = error.errors()
        loc, name = [str(part) for part in first["loc"]], ""
        if any(other["loc"][:-1] == first["loc"][:-1] for other in others) and loc[-1:] == ["int"]:
            loc.pop()  # a number of either type is wanted: pydantic tells of both
            first["type"] = "float_type"
        if loc[-1:] == ["[key]"]:
            *loc, name = loc[:-1]
        place = ".".join(part for part in (what, *loc) if part)
        if name:
            place += ": a name"
        if first["type"] == "missing":
            return cls(f"{place} is missing")
        if first["type"] == "value_error":
            return cls(f"{place}: {first['ctx']['error']}" if place else f"{first['ctx']['error']}")
        context: dict[str, Any] = first.get("ctx", {})
        rule = RULES.get(first["type"])
        message = rule.format(**context) if rule else first["msg"]
        given = first.get("input")
        shown = "a section" if isinstance(given, dict) else repr(given)
        return cls(f"{place} {message}, got {shown}".strip())
