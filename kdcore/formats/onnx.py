"""ONNX: the embedding as a graph from ids to vectors, its codes packed; the words stay behind."""

import contextlib
import io
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch

from kdcore.embeddings import Embedding
from kdcore.errors import KDError
from kdcore.formats import Source

SUFFIXES = (".onnx",)


def recognises(source: Source) -> bool:
    """Never: a graph is no table."""
    return False


def write(path: Path, suffix: str, words: Sequence[str] | None, embedding: Embedding) -> None:
    """A graph with the input `ids`, int64 of two sizes, and the output `vectors`.

    Raises:
        KDError: onnx or onnxscript is not installed.
    """
    for needed in ("onnx", "onnxscript"):
        if find_spec(needed) is None:
            raise KDError("an ONNX graph needs two packages; pip install onnx onnxscript")
    ids = torch.zeros(2, 3, dtype=torch.long)
    shapes = ({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC},)
    # The exporter speaks of its progress and of its own old interfaces.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            # Rounded books stand in the graph in full: it has no levels to compose them from.
            embedding.plain().eval(), (ids,), dynamo=True, dynamic_shapes=shapes,
            input_names=["ids"], output_names=["vectors"], verbose=False,
        )  # fmt: skip
        assert program is not None
        # Written by onnx itself: the exporter puts large tensors into a second file.
        import_module("onnx").save_model(program.model_proto, str(path))
