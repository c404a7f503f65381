"""Errors a user can mend."""


class KDError(ValueError):
    """Bad input, told in one line: what is wrong, where, and what to do."""
