"""Product codes: each index has a slice of the vector to itself."""

from kdcore import code_forms
from kdcore.code_forms import CodeForm, largest, strongest_first

PLACE = 3


def families(N: int, dim: int, limit: int, book_bits: int) -> dict[str, list[CodeForm]]:
    """One family, of all K."""
    found = [
        form
        for K in code_forms.VALUES
        for form in largest("product", N, dim, limit, book_bits, K, 1, most=dim)
    ]
    return {"product": strongest_first(found)} if found else {}
