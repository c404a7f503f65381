"""Additive codes: a vector is a sum over all indices."""

from kdcore import code_forms
from kdcore.code_forms import CodeForm, largest, strongest_first

PLACE = 4
MOST_POSITIONS = 32


def families(N: int, dim: int, limit: int, book_bits: int) -> dict[str, list[CodeForm]]:
    """One family: for each K the most positions that fit."""
    found = []
    for K in code_forms.VALUES:
        for depth in range(min(MOST_POSITIONS, code_forms.BOOK_ROWS // K), 1, -1):
            forms = largest("additive", N, dim, limit, book_bits, K, depth, most=1)
            if forms:
                found += forms
                break
    return {"additive": strongest_first(found)} if found else {}
