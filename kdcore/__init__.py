"""K-way D-dimensional discrete codes for compact embeddings.

Example:
    >>> import torch
    >>> from kdcore import KDEmbedding, learn_codes
    >>> vectors = torch.randn(1_000, 50)
    >>> learned = learn_codes(vectors, K=16, D=8, epochs=10)
    >>> embedding = KDEmbedding.from_pretrained(learned.codes, learned.transform)
    >>> embedding(torch.tensor([[1, 2], [3, 4]])).shape
    torch.Size([2, 2, 50])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdcore.interface import *  # noqa: F403

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    # At first use: importing PyTorch takes seconds, which `kdcore --help` need not wait for.
    public = import_module("kdcore.interface")
    if name != "__all__" and name not in public.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(public, name)


def __dir__() -> list[str]:
    return [*globals(), *import_module("kdcore.interface").__all__]
