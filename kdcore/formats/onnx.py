"""ONNX: the embedding as a graph from ids to vectors, its codes packed; the words stay behind."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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

    Rows of codes and of rounded tables stand in it as they are stored, at their bits; code books
    and factors that all words share, in float32. Other ids than 0 … N − 1 are refused when it runs;
    a table that is not rounded takes negative ones from its end, as ONNX does.

    Raises:
        KDError: onnx or onnxscript is not installed.
    """
    for needed in ("onnx", "onnxscript"):
        if find_spec(needed) is None:
            raise KDError(
                f"a graph of ONNX needs {needed}, which is not installed: pip install kdcore[onnx]"
            )
    ids = torch.zeros(2, 3, dtype=torch.long)
    shapes = ({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC},)
    with _silence():
        program = torch.onnx.export(
            embedding.eval(), (ids,), dynamo=True, dynamic_shapes=shapes,
            input_names=["ids"], output_names=["vectors"], verbose=False,
        )  # fmt: skip
        assert program is not None
        # Written by onnx itself: the exporter puts large tensors into a second file.
        import_module("onnx").save_model(_bare(program.model_proto), str(path))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter speaks of its progress, of its own old interfaces and of packages it misses."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _bare(model: Any) -> Any:
    """Without notes on where each step came from: kilobytes, and names of folders here."""
    for part in (model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info):
        del part.metadata_props[:]
    del model.graph.value_info[:]
    return model
