"""Files of this library with anything in their headers: a line about what is wrong, or a table.

Headers and tensors are changed one at a time. What is changed may still be a table: another seed,
or nothing that is read.
"""

import copy
import json

import pytest
import torch
from safetensors import safe_open

from kdcore import (
    EMBEDDINGS,
    TRANSFORMS,
    Codes,
    CompressedVectors,
    KDError,
    WordVectors,
    load_decoder,
    read_vectors,
    save_decoder,
)
from kdcore.command import bits_table, summary
from kdcore.embeddings import EmbeddingInputs
from kdcore.tensors import save_tensors

N, DIM, K, D = 11, 6, 5, 3
WRONG = [None, 5, -1, 0, 1.5, True, "x", [], [1], {}, {"kind": 5}, 10**30]
ABSENT = object()


def read_back(path):
    """All that is done with a table first."""
    v = CompressedVectors.load(path)
    assert v[:].shape == (len(v), v.dim)
    summary(v.info(), "v.kd"), bits_table(v.info()), list(v.words)
    v.embedding()


def places(value, before=()):
    """The keys that lead to every value of a header."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, held in inner:
        yield (*before, key)
        if isinstance(held, (dict, list)):
            yield from places(held, (*before, key))


def changed(header, place, value):
    header = copy.deepcopy(header)
    held = header
    for key in place[:-1]:
        held = held[key]
    if value is ABSENT:
        del held[place[-1]]
    else:
        held[place[-1]] = value
    return header


def other_tensors(tensor):
    """In place of a tensor: other types, other shapes, other numbers."""
    yield from (tensor.to(kind) for kind in (torch.float64, torch.int64, torch.complex64))
    yield from (tensor[:0], tensor.flatten(), tensor[None], torch.tensor(3))
    yield torch.full_like(tensor, 255 if tensor.dtype == torch.uint8 else 3)


def check(load, path, tensors, header):
    """Whether it loads; if not, a line that begins with the file."""
    save_tensors(path, {name: tensor.clone() for name, tensor in tensors.items()}, header)
    try:
        load(path)
    except KDError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        return False
    return True


def check_all(load, path, wrong=WRONG):
    with safe_open(str(path), "pt") as stored:
        header = json.loads(stored.metadata()["header"])
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    assert check(load, path, tensors, header)
    refused = 0
    for place in places(header):
        for value in (*wrong, ABSENT):
            refused += not check(load, path, tensors, changed(header, place, value))
    for value in wrong:
        # Any file of safetensors is read as a table.
        assert check(load, path, tensors, value) == (load is read_vectors)
    for name, tensor in tensors.items():
        rest = {other: t for other, t in tensors.items() if other != name}
        assert not check(load, path, rest, header), name
        for other in other_tensors(tensor):
            refused += not check(load, path, {**rest, name: other}, header)
    return refused


def saved(values, path):
    settings = EMBEDDINGS.parse(values)
    inputs = EmbeddingInputs(
        Codes.random(N, K, D, seed=0), torch.randn(N, DIM), torch.arange(1.0, N + 1)
    )
    made = settings.module.build(settings, N, DIM, inputs)
    how = {"asked": "ratio 8", "error": 0.1, "tried": [{"form": "a", "error": 0.1}]}
    CompressedVectors(made, settings, [f"w{i}" for i in range(N)], how).save(path)


@pytest.mark.parametrize("kind", EMBEDDINGS.names())
def test_a_table_with_anything_in_its_header_is_refused_in_a_line_or_loads(kind, tmp_path):
    values = {"kind": kind, **EMBEDDINGS.load(kind).EXAMPLE}
    saved(values, tmp_path / "v.kd")
    assert check_all(read_back, tmp_path / "v.kd", WRONG[2::2]) > 30


@pytest.mark.slow
@pytest.mark.parametrize("bits", [4, 16])
def test_a_rounded_table_with_anything_in_its_header(bits, tmp_path):
    codes = {"kind": "kd", "transform": {"kind": "product", "groups": 3}, "packing": "code"}
    for of in ({"kind": "table"}, codes):
        saved({"kind": "rounded", "bits": bits, "of": of}, tmp_path / "v.kd")
        assert check_all(read_back, tmp_path / "v.kd") > 30


@pytest.mark.parametrize("kind", TRANSFORMS.names())
def test_a_decoder_with_anything_in_its_header(kind, tmp_path):
    settings = TRANSFORMS.parse({"kind": kind})
    save_decoder(tmp_path / "d", settings.module.build(settings, K, D, DIM))
    assert check_all(load_decoder, tmp_path / "d") > 30


def test_codes_and_word_vectors_with_anything_in_their_headers(tmp_path):
    Codes.random(N, K, D, seed=0).save(tmp_path / "codes")
    assert check_all(Codes.load, tmp_path / "codes") > 30
    for load in (WordVectors.load, read_vectors):
        WordVectors(("a", "b"), torch.randn(2, 3)).save(tmp_path / "words")
        assert check_all(load, tmp_path / "words", WRONG[1:]) > 30


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("words",), 5.0, "words must be an integer above 0, got 5.0"),
        (("words",), -1, "words must be an integer above 0, got -1"),
        (("dim",), True, "dim must be an integer above 0, got True"),
        (("how",), 5, "how must be keys and values, got 5"),
        (("settings",), 5, "settings: must be a section with a kind, got 5"),
        (("settings", "bits"), [], "settings.bits must be an integer, got []"),
        (("words",), 12, "tensor 'packed' must have shape (18), got (17,)"),
    ],
)
def test_what_is_wrong_in_a_header_is_said(place, value, message, tmp_path):
    path = tmp_path / "v.kd"
    saved({"kind": "uniform", "bits": 2}, path)
    with safe_open(str(path), "pt") as stored:
        header = json.loads(stored.metadata()["header"])
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    save_tensors(path, tensors, changed(header, place, value))
    with pytest.raises(KDError) as refused:
        CompressedVectors.load(path)
    assert str(refused.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("text", "lengths", "message"),
    [
        (b"\xff\xfe", [1, 1], "words must be UTF-8 (invalid start byte at byte 0)"),
        ("é".encode(), [1, 1], "words must begin with a character, got byte 1"),
        (b"ab", [2, 1], "words must have 2 bytes as stored, got 3"),
        (b"aa", [1, 1], "words must differ, got 'a' twice"),
        (b"ab", [2], "words must be 2, one a row, got 1"),
    ],
)
def test_words_that_are_none_are_refused_when_a_table_is_loaded(text, lengths, message, tmp_path):
    path = tmp_path / "v.kd"
    settings = EMBEDDINGS.parse({"kind": "table"})
    made = settings.module.build(settings, 2, DIM, EmbeddingInputs())
    words = {
        "words.text": torch.frombuffer(bytearray(text), dtype=torch.uint8),
        "words.lengths": torch.tensor(lengths, dtype=torch.uint8),
    }
    header = {"kind": "embedding", "settings": {"kind": "table"}, "words": 2, "dim": DIM}
    save_tensors(path, {**made.export(), **words}, header)
    with pytest.raises(KDError) as refused:
        CompressedVectors.load(path)
    assert str(refused.value) == f"{path}: {message}"
