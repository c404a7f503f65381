"""Errors a user can mend."""

from pydantic import ValidationError


class KDError(ValueError):
    """Bad input, told in one line: what is wrong, where, and what to do."""

    @classmethod
    def of_settings(cls, error: ValidationError, what: str) -> "KDError":
        """One line for the first wrong key, type or range of settings called `what`."""
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        given = first.get("input")
        if not isinstance(given, dict | list):
            message += f", not {given!r}"
        if isinstance(given, str) and first["type"].startswith(("float", "int")):
            message += " (YAML reads 1e-3 as text: write 1.0e-3)"
        return cls(": ".join(part for part in (what, where, message) if part))
