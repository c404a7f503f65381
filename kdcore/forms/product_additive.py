"""Product-additive codes: each slice of the vector is a sum over its own indices."""

from kdcore import code_forms
from kdcore.code_forms import CodeForm, largest, strongest_first

PLACE = 5
POSITIONS = (2, 4, 8)


def families(N: int, dim: int, limit: int, book_bits: int) -> dict[str, list[CodeForm]]:
    """A family for each number of positions a slice; one slice alone is additive."""
    found = {}
    for depth in POSITIONS:
        forms = [
            form
            for K in code_forms.VALUES
            for form in largest(
                "product-additive, {groups} x", N, dim, limit, book_bits, K, depth,
                most=dim, fewest=2,
            )
        ]  # fmt: skip
        if forms:
            found[f"product-additive of {depth}"] = strongest_first(forms)
    return found
