"""Graphs of ONNX, run by onnxruntime: the same vectors from the same bits."""

import sys
from math import ceil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from kdcore import EMBEDDINGS, Codes, CompressedVectors, KDEmbedding, KDError, compress_module
from kdcore.command import main
from kdcore.embeddings import EmbeddingInputs

N, DIM = 4001, 14
SHAPES = [(1, 1), (2, 3), (5, 1), (3, 0)]
LOW_RANK = {"kind": "low_rank", "rank": 3}
# A stored form, and the bits of a word that stand in its graph.
FORMS = {
    "additive": ({"kind": "kd", "transform": {"kind": "linear"}}, 12),
    "product": (
        {
            "kind": "rounded", "bits": 4,
            "of": {"kind": "kd", "transform": {"kind": "product"}, "packing": "code"},
        },
        12,
    ),
    "product-additive": (
        {
            "kind": "rounded", "bits": 6, "scales": "column",
            "of": {"kind": "kd", "transform": {"kind": "product", "groups": 2}},
        },
        12,
    ),
    "rounding": ({"kind": "uniform", "bits": 3}, 3 * DIM + 32),
    "low-rank": ({"kind": "rounded", "bits": 5, "of": LOW_RANK}, 5 * 3 + 32),
    "low-rank, columns": ({"kind": "rounded", "bits": 2, "scales": "column", "of": LOW_RANK}, 6),
}  # fmt: skip
# The others; a second or two each.
MORE = {
    "lstm": ({"kind": "kd", "transform": {"kind": "lstm", "code_dim": 5, "normalise": True}}, 12),
    "projected": (
        {"kind": "kd", "transform": {"kind": "linear", "code_dim": 5, "normalise": True}},
        12,
    ),
    "table": ({"kind": "rounded", "bits": 16, "of": {"kind": "table"}}, 16 * DIM),
    "low-rank, halves": ({"kind": "rounded", "bits": 16, "of": LOW_RANK}, 16 * 3),
}


def compressed(values, count=N, dim=DIM, K=6, D=4, init_scale=1.0):
    settings = EMBEDDINGS.parse(values)
    inputs = EmbeddingInputs(
        codes=Codes.random(count, K, D, seed=0),
        vectors=torch.randn(count, dim),
        init_scale=init_scale,
    )
    return CompressedVectors(settings.module.build(settings, count, dim, inputs), settings)


def session(graph):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # ids that are refused are told by the exception
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run(started, ids):
    (vectors,) = started.run(None, {started.get_inputs()[0].name: np.asarray(ids)})
    return torch.from_numpy(vectors)


def check(path, v, refused=(-1, N)):
    """A graph's vectors are those of a compressed table, and ids that are none have none."""
    started = session(path)
    for shape in SHAPES:
        ids = torch.randint(len(v), shape)
        found = run(started, ids)
        assert found.shape == (*shape, v.dim)
        torch.testing.assert_close(found, v[ids])
    for outside in refused:
        with pytest.raises(Exception, match="out of data bounds"):
            run(started, [[0, outside]])


def held(graph):
    """Bytes of what stands in a graph and is as long as the table."""
    tensors = [t for t in graph.initializer if np.prod(t.dims) > N / 8]
    return sum(onnx.numpy_helper.to_array(t).nbytes for t in tensors)


@pytest.mark.parametrize("form", [*FORMS, *(pytest.param(f, marks=pytest.mark.slow) for f in MORE)])
def test_a_graph_composes_the_same_vectors_from_the_same_bits(form, tmp_path):
    values, bits = {**FORMS, **MORE}[form]
    v = compressed(values)
    path = tmp_path / "v.onnx"
    v.export(path)
    check(path, v)
    graph = onnx.load(path).graph
    assert held(graph) == ceil(N * bits / 8)
    # Gathers and arithmetic: nothing that goes through rows one by one.
    steps = {node.op_type for node in graph.node}
    assert not steps & {"Loop", "Scan", "If", "SequenceMap"} and "Gather" in steps
    whole = path.read_bytes()
    assert len(whole) < ceil(N * bits / 8) + 15_000 and b".py" not in whole


@pytest.mark.slow
@pytest.mark.parametrize("kind", EMBEDDINGS.names())
def test_a_graph_of_any_kind_of_embedding(kind, tmp_path):
    v = compressed({"kind": kind, **EMBEDDINGS.load(kind).EXAMPLE}, 23, dim=6, K=5, D=3)
    v.export(tmp_path / "v.onnx")
    # Of a full table ONNX itself takes negative ids, from the end.
    check(tmp_path / "v.onnx", v, refused=[23])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["rounding", "table"])
def test_a_graph_of_numbers_that_float16_does_not_hold(form, tmp_path):
    values, bits = {**FORMS, **MORE}[form]
    v = compressed(values, init_scale=1e8)
    assert torch.bfloat16 in {tensor.dtype for tensor in v.stored().export().values()}
    v.export(tmp_path / "v.onnx")
    check(tmp_path / "v.onnx", v)
    # NumPy has no such type: its 16 bits are counted.
    tensors = onnx.load(tmp_path / "v.onnx").graph.initializer
    assert sum(len(t.raw_data) for t in tensors if np.prod(t.dims) > N / 8) == ceil(N * bits / 8)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_an_embedding_is_exported_by_pytorch_itself():
    embedding = KDEmbedding(Codes.random(N, 6, 4, 0), DIM, padding_idx=3).eval()
    program = torch.onnx.export(
        embedding, (torch.tensor([1, 2]),), dynamo=True, verbose=False, input_names=["ids"],
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
    )  # fmt: skip
    assert held(program.model_proto.graph) == ceil(N * 12 / 8)
    started = session(program.model_proto.SerializeToString())
    for ids in ([5], [3, 4000, 3, 0, 7]):
        torch.testing.assert_close(run(started, ids), embedding(torch.tensor(ids)).detach())


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_a_model_with_a_compressed_table_is_exported():
    model = nn.Sequential(nn.Embedding(300, 16), nn.Linear(16, 2)).eval()
    compress_module(model, smallest=4_000, ratio=6, forms=["low-rank"])
    ids = torch.randint(300, (2, 5))
    program = torch.onnx.export(model, (ids,), dynamo=True, verbose=False)
    found = run(session(program.model_proto.SerializeToString()), ids)
    torch.testing.assert_close(found, model(ids).detach())
    graph = program.model_proto.graph
    sizes = [onnx.numpy_helper.to_array(t).nbytes for t in graph.initializer]
    assert sum(sizes) < 300 * 16 * 4 / 3


def test_the_command_writes_a_graph_and_says_no_more(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    v = compressed(LOW_RANK)
    v.save("v.kd")
    assert main(["export", "v.kd", "--to", "v.onnx"]) == 0
    said = capfd.readouterr()
    assert said.out == "v.onnx: 4,001 vectors of size 14\n" and not said.err
    check("v.onnx", v, refused=[N])


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_a_package_that_is_missing_is_asked_for(missing, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(KDError) as refused:
        compressed(LOW_RANK).export(tmp_path / "v.onnx")
    assert str(refused.value) == (
        f"{tmp_path}/v.onnx: a graph of ONNX needs {missing}, which is not installed: "
        "pip install kdcore[onnx]"
    )
    assert not list(tmp_path.iterdir())
