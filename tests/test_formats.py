"""Files of vectors: those that other tools wrote, odd ones, and what is written here read back."""

import gzip
import io
import json
import pickle
import sys
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors
from safetensors.torch import save_file

from kdcore import EMBEDDINGS, KDError, WordVectors, compress, evaluate, learn_codes
from kdcore.compressing import compress_table
from kdcore.embeddings.table import TableEmbedding
from kdcore.formats import given_vectors, names, read_vectors, suffixes, write_vectors
from kdcore.formats.fasttext_binary import subword_hashes
from kdcore.learners import check_counts
from kdcore.vectors import check_vectors

FILES = Path(__file__).parent / "files" / "formats"
EXPECTED = json.loads((FILES / "expected.json").read_text("utf-8"))


def text(tmp_path, content, name="some.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def error(path, **options):
    with pytest.raises(KDError) as refused:
        read_vectors(path, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value).replace(f"{Path(str(path).partition(':')[0]).parent}/", "")


# Files of other tools


@pytest.mark.parametrize(
    ("file", "expected", "digits"),
    [
        ("gensim.txt", "gensim", 0),
        ("gensim.txt.gz", "gensim", 0),
        ("gensim.bin", "gensim", 0),
        ("gensim.bin.gz", "gensim", 0),
        ("glove.txt", "gensim", 0),
        ("glove.zip:glove.100d.txt", "gensim", 0),
        ("spaces.txt", "spaces", 0),
        ("fasttext.vec", "fasttext", 1e-5),
        ("fasttext.bin", "fasttext", 1e-7),
        ("fasttext_words.bin", "fasttext_words", 1e-7),
        ("fasttext_supervised.bin", "fasttext_supervised", 1e-7),
        ("gensim_fasttext.bin", "gensim_fasttext", 1e-7),
    ],
)
def test_a_file_of_another_tool_gives_the_vectors_that_the_tool_gives(file, expected, digits):
    found = read_vectors(FILES / file)
    assert list(found.words) == list(EXPECTED[expected])
    assert found.vectors.dtype == torch.float32 and not found.notes
    wanted = torch.tensor(list(EXPECTED[expected].values()))
    torch.testing.assert_close(found.vectors, wanted, rtol=0, atol=digits)


def test_fasttexts_parts_of_words_are_those_of_its_paper():
    owners, hashes = subword_hashes([b"where", b"</s>", "né".encode()], 3, 3)
    by_hand = ["<wh", "whe", "her", "ere", "re>", "<né", "né>"]
    wanted = []
    for gram in by_hand:
        state = 2166136261
        for byte in gram.encode():
            state = ((state ^ (byte | (0xFFFFFF00 if byte > 127 else 0))) * 16777619) % 2**32
        wanted.append(state)
    assert sorted(hashes[owners == 0].tolist()) == sorted(wanted[:5])
    assert sorted(hashes[owners == 2].tolist()) == sorted(wanted[5:])
    assert not (owners == 1).any()


def test_gensims_own_file_asks_for_gensim_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim.utils", None)
    assert error(FILES / "gensim.kv") == (
        "gensim.kv: gensim's own format needs gensim, which is not installed: "
        "pip install kdcore[gensim]"
    )


def test_gensims_own_file_is_read_by_gensim():
    found = read_vectors(FILES / "gensim.kv")
    assert list(found.words) == list(EXPECTED["gensim"])
    assert torch.equal(found.vectors, torch.tensor(list(EXPECTED["gensim"].values())))


def test_a_quantised_fasttext_file_is_refused():
    assert "quantised (.ftz)" in error(FILES / "fasttext.ftz")


@pytest.mark.parametrize("file", ["fasttext.bin", "gensim.bin", "gensim.txt.gz", "glove.zip"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_file_that_is_cut_off_is_refused_in_a_line(file, share, tmp_path):
    whole = (FILES / file).read_bytes()
    (tmp_path / file).write_bytes(whole[: int(share * len(whole))])
    assert file in error(tmp_path / file)


def test_a_packed_fasttext_file_says_so(tmp_path):
    with gzip.open(tmp_path / "f.bin.gz", "wb") as stream:
        stream.write((FILES / "fasttext.bin").read_bytes())
    assert error(tmp_path / "f.bin.gz") == "f.bin.gz: fastText's .bin must be unpacked first"


# Text as it comes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a 1 2\nb 3 4\n", ["a", "b"]),
        ("2 2\na 1 2\nb 3 4\n", ["a", "b"]),
        ("2 2\r\na 1 2 \r\nb 3 4 \r\n", ["a", "b"]),
        ("a\t1\t2\nb c\t3\t4\n", ["a", "b c"]),
        ("a\t1 2\nb c\t3 4", ["a", "b c"]),
        ("2\t2\na\t1\t2\nb\t3\t4\n", ["a", "b"]),
        ("a  1   2\nb 3  4\n", ["a", "b"]),
        ("\ufeffa 1 2\nb 3 4\n", ["a", "b"]),
        ("new york 1 2\nb 3 4\n", ["new york", "b"]),
        ("7 1 2\nroute 66 3 4\n8 5 6\n", ["7", "route 66", "8"]),
        ("  1 2\nb 3 4\n", [" ", "b"]),
        ("a\u00a0b 1 2\n\u0085 3 4\n", ["a\u00a0b", "\u0085"]),
        ("a 1e-3 -.5\nb +2. 1E+2\n", ["a", "b"]),
        ("5 1\n7 2\n9 3\n", ["7", "9"]),
        ("1 300\n2 4\n5 1\n", ["1", "2", "5"]),
        ("x 1\n", ["x"]),
    ],
)
def test_text_as_people_have_it(content, words, tmp_path):
    assert list(read_vectors(text(tmp_path, content)).words) == words


def test_numbers_of_text_are_those_that_python_reads(tmp_path):
    table = torch.randn(300, 7) * 10.0 ** torch.randint(-8, 9, (300, 1))
    rows = "".join(f"w{i} " + " ".join(map(repr, r)) + "\n" for i, r in enumerate(table.tolist()))
    assert torch.equal(read_vectors(text(tmp_path, rows)).vectors, table)
    spaced = read_vectors(text(tmp_path, rows.replace("w17 ", "w 17 "))).vectors
    assert torch.equal(spaced, table)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("a 1 2\nb 3 4\na 5 6\n", "line 3: 'a' comes again; the first is kept"),
        (
            "a 1 2\na 3 4\nb 1 1\na 5 6\n",
            "line 2: 'a' comes again; the first is kept (2 such lines)",
        ),
        (b"ok 1 2\n\xff\xfe 3 4\n",
         "line 2: '\\\\xff\\\\xfe' is not UTF-8; such bytes are written as \\x…"),
        ("3 2\na 1 2\nb 3 4\n", "line 1: says 3 words, there are 2; the last is line 3"),
        ("1 2\na 1 2\n\nb 3 4\n", "line 1: says 1 words, there are 2; the last is line 4"),
        ("a 1 2\n 3 4\n", "line 2: the word is empty"),
    ],
)  # fmt: skip
def test_what_is_odd_is_said_with_its_line(content, note, tmp_path):
    found = read_vectors(text(tmp_path, content))
    assert list(found.notes) == [note]
    assert len(found.words) == len(set(found.words)) == len(found.vectors)
    assert found.vectors[0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a 1 2\nb 3\n", "some.txt: line 2 has 1 numbers, expected 2"),
        ("a 1 2 3\nb 1 2 3\nc 1 x 3\n", "some.txt: line 3: 'x' is not a number"),
        ("a 1 2 3\nb 1 2 3\nc 1 1_0 3\n", "some.txt: line 3: '1_0' is not a number"),
        ("1000000 300\na 1 2\n", "some.txt: line 1 says vectors of size 300, line 2 has 2"),
        ("2 2\n", "some.txt: line 1 says 2 words, there are none"),
        ("3 0\na\nb\n", "some.txt: line 1 says vectors of size 0"),
        ("a 1 nan\nb 1 2\n", "some.txt: the vector of 'a' has a value that is not finite"),
        ("a 1 2\nb 1 -inf\n", "some.txt: the vector of 'b' has a value that is not finite"),
    ],
)
def test_text_that_is_wrong_is_refused_with_its_line(content, message, tmp_path):
    assert error(text(tmp_path, content)) == message


@pytest.mark.parametrize("content", [b"", b"\n\n", b"some prose, nothing else\n", b"\0\1\2" * 50])
def test_a_file_without_vectors_is_refused(content, tmp_path):
    assert error(text(tmp_path, content)).startswith("some.txt: no vectors found; formats")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert error(tmp_path / "no.txt") == "no.txt: no such file"
    assert error(f"{tmp_path}/no.pt:layer.weight") == "no.pt: no such file"
    assert "is a folder" in error(tmp_path)


def test_a_zip_of_several_files_asks_for_one(tmp_path):
    assert "glove.zip:glove.100d.txt" in error(FILES / "glove.zip")
    assert "did you mean 'glove.50d.txt'?" in error(f"{FILES}/glove.zip:glove.5d.txt")
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.writestr("folder/", "")
        archive.writestr("folder/a.txt", "a 1 2\n")
    assert list(read_vectors(tmp_path / "one.zip").words) == ["a"]


@pytest.mark.parametrize("name", ["gensim.txt", "gensim.txt.gz", "gensim.bin", "fasttext.bin"])
def test_a_name_where_there_are_none_is_refused(name):
    assert error(f"{FILES}/{name}:en") == f"{name}: holds one table, which has no name, got 'en'"


def test_a_file_whose_name_has_a_colon_is_read(tmp_path):
    assert len(read_vectors(text(tmp_path, "a 1 2\n", "a:b.txt")).words) == 1


def test_memory_of_reading_is_a_small_multiple_of_the_table(tmp_path):
    row = " ".join(["0.25"] * 100)
    path = text(tmp_path, "".join(f"w{i} {row}\n" for i in range(20_000)))
    tracemalloc.start()
    table = read_vectors(path).vectors
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * table.nbytes


# Arrays and checkpoints


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "f2", "f8", "i4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_table_of_numpy_of_any_type(dtype, order, tmp_path):
    table = np.arange(12).reshape(4, 3)
    np.save(tmp_path / "t.npy", np.array(table, dtype, order=order))
    found = read_vectors(tmp_path / "t.npy")
    assert found.words is None and found.vectors.dtype == torch.float32
    assert found.vectors.tolist() == table.tolist()


def test_an_array_that_gzip_packed_is_read(tmp_path):
    table = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    packed = io.BytesIO()
    np.save(packed, table)
    (tmp_path / "t.npy.gz").write_bytes(gzip.compress(packed.getvalue()))
    assert np.array_equal(read_vectors(tmp_path / "t.npy.gz").vectors, table)


def test_numbers_beyond_float32_are_refused_in_a_line_and_nothing_else_is_said(tmp_path):
    np.save(tmp_path / "t.npy", np.array([[1.0, 1e50]]))
    np.savez(tmp_path / "t.npz", np.array([[1.0, 1e50]]))
    text(tmp_path, "a b 1 1e50\n", "t.txt")
    keyed = SimpleNamespace(index_to_key=["a"], vectors=np.array([[1.0, 1e50]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("t.npy", "t.npz", "t.txt"):
            assert error(tmp_path / name).endswith("has a value that is not finite")
        with pytest.raises(KDError, match="'a' has a value that is not finite"):
            given_vectors(keyed)


def test_a_large_table_of_numpy_is_mapped_and_never_changed(tmp_path):
    np.save(tmp_path / "t.npy", np.zeros((50_000, 100), np.float32))
    before = (tmp_path / "t.npy").read_bytes()
    tracemalloc.start()
    found = read_vectors(tmp_path / "t.npy")
    assert tracemalloc.get_traced_memory()[1] < 2_000_000 < found.vectors.nbytes
    tracemalloc.stop()
    found.vectors.add_(1)
    assert (tmp_path / "t.npy").read_bytes() == before


def test_numpys_archive_by_name_and_what_is_no_table(tmp_path):
    np.savez(tmp_path / "t.npz", a=np.ones((2, 3)), b=np.zeros((4, 3)))
    for name, shape in (("a", (2, 3)), ("b", (4, 3)), ("b.npy", (4, 3))):
        assert read_vectors(f"{tmp_path}/t.npz:{name}").vectors.shape == shape
    several = "t.npz holds 2 tables; name one: t.npz:b (4, 3), t.npz:a (2, 3)"
    assert error(tmp_path / "t.npz") == several
    assert error(f"{tmp_path}/t.npz:c") == "t.npz: tensor 'c' is unknown; there are: a, b"
    # The only table needs no name, whatever is beside it.
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "o.npz", words=["x", "y"], counts=np.ones(2), vectors=np.ones((2, 5)))
        assert read_vectors(tmp_path / "o.npz").vectors.shape == (2, 5)
    assert error(f"{tmp_path}/o.npz:words") == "o.npz: must hold numbers, got <U1"
    assert error(f"{tmp_path}/o.npz:counts").endswith("must have shape (N, d), got (2,)")
    np.savez(tmp_path / "w.npz", words=["x", "y"], more=np.ones(2))
    assert error(tmp_path / "w.npz") == "w.npz: holds no table of numbers, shape (N, d)"
    whole = (tmp_path / "t.npz").read_bytes()
    (tmp_path / "t.npz").write_bytes(whole.replace(b"\x93NUMPY", b"\x93NUMMY"))
    assert error(f"{tmp_path}/t.npz:a").startswith("t.npz: damaged (")
    np.save(tmp_path / "o.npy", np.array([{}, []], dtype=object))
    assert "Python objects" in error(tmp_path / "o.npy")
    np.save(tmp_path / "s.npy", np.array([["a", "b"]]))
    assert error(tmp_path / "s.npy") == "s.npy: must hold numbers, got <U1"
    np.save(tmp_path / "v.npy", np.ones(3))
    assert error(tmp_path / "v.npy") == "v.npy: vectors must have shape (N, d), got (3,)"
    np.save(tmp_path / "n.npy", np.array([[1.0, np.inf]]))
    assert error(tmp_path / "n.npy") == "n.npy: the vector of row 0 has a value that is not finite"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_a_tensor_of_a_checkpoint_by_its_name(dtype, ending, tmp_path):
    table = torch.randn(5, 3).to(dtype)
    path = tmp_path / f"model{ending}"
    tensors = {"encoder.weight": table, "head.weight": torch.ones(2, 3), "bias": torch.ones(3)}
    if ending == ".pt":
        nested = {"encoder": {"weight": table}, "head.weight": torch.ones(2, 3)}
        torch.save({"state_dict": nested, "epoch": 3, "bias": torch.ones(3)}, path)
        prefix = "state_dict."
    else:
        save_file(tensors, path)
        prefix = ""
    found = read_vectors(f"{path}:{prefix}encoder.weight")
    assert found.words is None and found.vectors.dtype == torch.float32
    assert torch.equal(found.vectors, table.float())
    several = error(path)
    assert "holds 2 tables; name one" in several and f"{prefix}encoder.weight (5, 3)" in several
    unknown = error(f"{path}:{prefix}encoder.wieght")
    assert f"did you mean '{prefix}encoder.weight'?" in unknown
    assert "shape (N, d), got (3,)" in error(f"{path}:bias")


def test_the_only_table_of_a_checkpoint_needs_no_name(tmp_path):
    torch.save(torch.ones(3, 2), tmp_path / "t.pt")
    assert read_vectors(tmp_path / "t.pt").vectors.shape == (3, 2)
    torch.save({"w": torch.ones(3, 2), "n": torch.tensor(1)}, tmp_path / "t.pt")
    assert read_vectors(tmp_path / "t.pt").vectors.shape == (3, 2)
    old = tmp_path / "old.pt"
    torch.save({"w": torch.ones(4, 2)}, old, _use_new_zipfile_serialization=False)
    assert read_vectors(old).vectors.shape == (4, 2)
    torch.save({"n": torch.ones(1)}, tmp_path / "t.pt")
    assert error(tmp_path / "t.pt") == "t.pt: holds no table of numbers, shape (N, d)"
    for odd in (torch.ones(3, 2).to_sparse(), torch.ones(3, 2, device="meta")):
        torch.save({"w": odd}, tmp_path / "t.pt")
        assert error(tmp_path / "t.pt").startswith("t.pt: tensor 'w' cannot be read (")


class Harmful:
    def __reduce__(self):
        return (sys.exit, (3,))


def test_a_checkpoint_with_more_than_tensors_runs_nothing(tmp_path):
    torch.save({"w": torch.ones(3, 2), "x": Harmful()}, tmp_path / "bad.pt")
    assert "holds more than tensors" in error(tmp_path / "bad.pt")
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(Harmful()))
    assert "no vectors found" in error(tmp_path / "bad.pkl")


def test_words_of_their_own_file(tmp_path):
    np.save(tmp_path / "t.npy", np.ones((2, 3)))
    words = text(tmp_path, "new york\nb\n", "words.txt")
    assert list(read_vectors(tmp_path / "t.npy", words).words) == ["new york", "b"]
    text(tmp_path, "\ufeffa\r\n\ufeffb\r\n", "words.txt")  # as Windows marks a text
    assert list(read_vectors(tmp_path / "t.npy", words).words) == ["a", "\ufeffb"]
    text(tmp_path, "a\n", "words.txt")
    assert error(tmp_path / "t.npy", words=words) == "t.npy: words must be 2, one a row, got 1"
    text(tmp_path, "a\na\n", "words.txt")
    assert "line 2: 'a' comes again; rows must differ" in error(tmp_path / "t.npy", words=words)


def test_word_vectors_that_could_not_be_loaded_are_not_saved(tmp_path):
    for rows in (torch.ones(2, 3), torch.ones(1)):
        with pytest.raises(KDError, match=r"vectors must have shape \(1, d\), a row for each word"):
            WordVectors(("a",), rows).save(tmp_path / "v.safetensors")
    assert not any(tmp_path.iterdir())


def test_our_own_word_vectors_are_read_with_their_words(tmp_path):
    WordVectors(("a", "b"), torch.ones(2, 3)).save(tmp_path / "v.safetensors")
    assert list(read_vectors(tmp_path / "v.safetensors").words) == ["a", "b"]


@pytest.mark.parametrize("ending", [".npy", ".pt", ".safetensors"])
def test_arrays_and_checkpoints_that_are_cut_off_are_refused_in_a_line(ending, tmp_path):
    path, table = tmp_path / f"t{ending}", torch.randn(100, 8)
    if ending == ".npy":
        np.save(path, table.numpy())
    elif ending == ".pt":
        torch.save({"w": table}, path)
    else:
        save_file({"w": table}, path)
    path.write_bytes(path.read_bytes()[:2_000])
    assert error(path).startswith(f"t{ending}: ")


# Objects


def test_tables_in_memory():
    keyed = SimpleNamespace(index_to_key=["a", 7], vectors=np.eye(2, dtype=np.float16))
    for given in (keyed, SimpleNamespace(wv=keyed)):
        found = given_vectors(given)
        assert list(found.words) == ["a", "7"] and torch.equal(found.vectors, torch.eye(2))
    words = WordVectors(("a", "b"), torch.eye(2))
    assert given_vectors(words).words == ("a", "b")
    for table in (np.eye(2), torch.eye(2, dtype=torch.bfloat16), [[1, 0], [0, 1]],
                  torch.nn.Embedding.from_pretrained(torch.eye(2))):  # fmt: skip
        found = given_vectors(table)
        assert found.words is None and torch.equal(found.vectors, torch.eye(2))
    assert list(given_vectors(str(FILES / "gensim.txt")).words) == list(EXPECTED["gensim"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": 1}, "vectors must be a path, a table (N, d) or KeyedVectors, got dict"),
        (torch.ones(3), "vectors: vectors must have shape (N, d), got (3,)"),
        (torch.tensor([[1.0, torch.nan]]), "vectors: the vector of row 0 has a value that is not"),
    ],
)
def test_what_is_no_table_is_refused(given, message):
    with pytest.raises(KDError) as refused:
        given_vectors(given)
    assert str(refused.value).startswith(message)


TABLE = np.arange(12.0).reshape(4, 3)
NO_TABLES = {
    "complex": (TABLE + 1j, "numbers must be real, got torch.complex128"),
    "complex tensor": (torch.tensor(TABLE + 1j), "numbers must be real, got torch.complex128"),
    "objects": (TABLE.astype(object), "numpy.object_"),
    "text": (TABLE.astype(str), "numpy.str_"),
    "times": (TABLE.astype("M8[s]"), "numpy.datetime64"),
    "fields": (np.zeros((4, 3), [("a", "f4")]), "numpy.void"),
    "no rows": (TABLE[:0], "must have shape (N, d), got (0, 3)"),
    "no columns": (TABLE[:, :0], "must have shape (N, d), got (4, 0)"),
    "one row": (TABLE[0], "must have shape (N, d), got (3,)"),
    "three axes": (TABLE[None], "must have shape (N, d), got (1, 4, 3)"),
    "masked": (np.ma.masked_array(TABLE, TABLE > 5), "some that are masked"),
    "sparse": (torch.tensor(TABLE).to_sparse(), "must be dense, got one that is torch.sparse_coo"),
    "meta": (torch.empty(4, 3, device="meta"), "meta tensor"),
    "ragged": ([[1, 2], [3]], "expected sequence of length 2"),
    "beyond float32": (TABLE * 1e300, "not finite|finite, got a value that is not"),
}


@pytest.mark.parametrize("name", NO_TABLES)
def test_what_is_no_table_of_real_numbers_is_refused_wherever_it_is_given(name):
    given, message = NO_TABLES[name]
    known = compress(torch.randn(4, 3), bits_per_word=100)
    places = [
        lambda: compress(given, ratio=1),
        lambda: compress_table(given, ratio=1),
        lambda: learn_codes(given, K=2, D=1),
        lambda: evaluate(known, given),
    ]
    if name != "one row":
        places.append(lambda: known.extended([], given))
    for place in places:
        with pytest.raises(KDError) as refused, warnings.catch_warnings():
            warnings.simplefilter("error")
            place()
        line = str(refused.value)
        assert "\n" not in line
        assert any(part in line for part in message.split("|")), line


def test_integers_and_booleans_are_numbers():
    for kind in (np.int8, np.int64, np.uint64, bool):
        table = (TABLE > 5).astype(kind)
        for given in (table, torch.from_numpy(table)):
            assert compress(given, ratio=1)[:].tolist() == table.astype(float).tolist()


def test_a_compressed_table_is_a_table_itself(tmp_path):
    words = ("a", "b", "c", "d")
    v = compress(WordVectors(words, torch.randn(4, 3)), bits_per_word=3 * 8 + 32)
    v.save(tmp_path / "v.kd")
    for given in (v, tmp_path / "v.kd"):
        found = given_vectors(given)
        assert tuple(found.words) == words and torch.equal(found.vectors, v[:])
        assert evaluate(v, given).all.error == 0
        assert list(compress(given, ratio=1)) == list(words)
    assert "unknown" in error(f"{tmp_path}/v.kd:packed")
    bare = compress(torch.randn(4, 3), ratio=1)
    bare.save(tmp_path / "b.kd")
    for given in (bare, tmp_path / "b.kd"):
        assert given_vectors(given).words is None
    whole = (tmp_path / "v.kd").read_bytes()
    (tmp_path / "v.kd").write_bytes(whole.replace(b"rounded", b"roundet"))
    assert "kind 'roundet' is unknown; did you mean 'rounded'?" in error(tmp_path / "v.kd")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_gensims_vectors_are_compressed_as_they_are(dtype):
    keyed = KeyedVectors(8, dtype=dtype)
    table = torch.randn(200, 8).numpy().astype(dtype)
    keyed.add_vectors([f"w{i}" for i in range(200)], table)
    v = compress(keyed, ratio=4)
    assert list(v) == keyed.index_to_key and v.info().ratio >= 4
    of_words = compress(WordVectors(tuple(v), torch.from_numpy(table).float()), ratio=4)
    assert torch.equal(v[list(v)], of_words[list(v)])
    # Its neighbours are gensim's, but for what is lost.
    assert {w for w, _ in v.most_similar("w7", 3)} & {w for w, _ in keyed.most_similar("w7")}


# Writing


# Without a header gensim leaves a file open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".vec", {}), (".txt", {"no_header": True}), (".bin", {"binary": True})],
)
@pytest.mark.parametrize("words", [["the", "köln", "日本語"], None])
def test_gensim_reads_what_is_written(suffix, options, words, tmp_path):
    table = torch.randn(3, 5)
    write_vectors(tmp_path / f"o{suffix}", words, TableEmbedding(table))
    keyed = KeyedVectors.load_word2vec_format(tmp_path / f"o{suffix}", **options)
    assert keyed.index_to_key == (words or ["0", "1", "2"])
    np.testing.assert_allclose(keyed.vectors, table, rtol=1e-6, atol=1e-7)


def test_every_ending_is_written_by_one_format():
    assert len(set(suffixes())) == len(suffixes())
    assert {".txt", ".vec", ".bin", ".npy", ".safetensors", ".onnx"} == set(suffixes())
    assert "text" in names()


@pytest.mark.parametrize("suffix", [".txt", ".vec", ".bin", ".npy", ".safetensors"])
@pytest.mark.parametrize("words", [["the", "köln", "日本語"], None])
def test_what_is_written_is_read_back(suffix, words, tmp_path):
    table = torch.randn(3, 5)
    path = tmp_path / f"out{suffix}"
    write_vectors(path, words, TableEmbedding(table))
    found = read_vectors(path)
    torch.testing.assert_close(found.vectors, table, rtol=1e-6, atol=1e-7)
    wanted = words or ["0", "1", "2"]
    assert found.words is None if suffix == ".npy" else list(found.words) == wanted
    assert not found.notes
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_words_with_spaces_go_where_they_can(tmp_path):
    words, table = ["new york", " ", "a", "   ", " b", "\tc"], torch.randn(6, 4)
    for suffix in (".txt", ".vec", ".safetensors"):
        write_vectors(tmp_path / f"o{suffix}", words, TableEmbedding(table))
        assert list(read_vectors(tmp_path / f"o{suffix}").words) == words
    with pytest.raises(KDError, match=r"o\.bin: word 'new york' of row 0 has a space or a line"):
        write_vectors(tmp_path / "o.bin", words, TableEmbedding(table))
    with pytest.raises(KDError, match=r"o\.vec: word 'a\\nb' of row 0 has a line break"):
        write_vectors(tmp_path / "o.vec", ["a\nb"], TableEmbedding(table[:1]))
    for word in ("a ", "a\t", "\t", "\t "):
        with pytest.raises(KDError, match="of row 1 ends in a blank, which a line of text"):
            write_vectors(tmp_path / "o.txt", ["b", word], TableEmbedding(table[:2]))
    assert not list(tmp_path.glob("*.bin")) and not list(tmp_path.glob(".o*"))


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(KDError, match=r"ending must be one of \.bin, .*, got '\.doc'"):
        write_vectors(tmp_path / "o.doc", None, TableEmbedding(torch.ones(2, 2)))


def test_an_embedding_of_any_kind_is_written(tmp_path):
    settings = EMBEDDINGS.parse({"kind": "uniform", "bits": 3})
    from kdcore.embeddings import EmbeddingInputs

    embedding = settings.module.build(settings, 7, 4, EmbeddingInputs()).eval()
    write_vectors(tmp_path / "o.npy", None, embedding)
    found = read_vectors(tmp_path / "o.npy").vectors
    torch.testing.assert_close(found, embedding(torch.arange(7)).detach())


def test_an_array_may_lie_in_memory_in_any_way():
    exact = np.arange(6, dtype=np.float32).reshape(3, 2)
    fixed = exact.copy()
    fixed.flags.writeable = False
    ways = (
        exact[::-1][::-1],
        exact[::-1].copy()[::-1],
        exact.astype(">f8"),
        np.asfortranarray(exact),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for array in (*ways, exact.astype(">i2"), fixed):
            for read in (check_vectors, lambda given: given_vectors(given).vectors):
                assert torch.equal(read(array), torch.from_numpy(exact))
        assert torch.equal(check_counts(exact[::-1, 0], 3), torch.tensor([4.0, 2, 0]))
    counts = torch.ones(3, requires_grad=True)
    assert not check_counts(counts, 3).requires_grad


def test_an_array_on_disk_stays_there(tmp_path):
    np.save(tmp_path / "t.npy", np.ones((3, 2), np.float32))
    table = np.load(tmp_path / "t.npy", mmap_mode="r")
    assert given_vectors(table).vectors.data_ptr() == table.ctypes.data


def test_archives_and_arrays_with_a_damaged_head_are_refused_in_a_line(tmp_path):
    archive, array = tmp_path / "a.zip", tmp_path / "a.npy"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("ä.txt", "a 1 2\n")
    np.save(array, np.ones((2, 2), np.float32))
    name, version = "ä".encode(), b"PK\x01\x02\x14\x03\x14\x00"
    damaged = [
        (archive, archive.read_bytes().replace(name, b"\xb1\xb1")),
        (archive, archive.read_bytes().replace(version, version[:6] + b"\xff\x00")),
        (array, array.read_bytes().replace(b"(2, 2)", b"(2, 2 ")),
        (array, array.read_bytes().replace(b"(2, 2)", b"(2,\n2 ")),
    ]
    for path, content in damaged:
        path.write_bytes(content)
        with pytest.raises(KDError, match=r"a\.(zip|npy): "):
            read_vectors(path)


@pytest.mark.parametrize("ending", ["txt", "npy"])
@pytest.mark.parametrize(
    ("local", "central", "value", "told"),
    [(6, 8, 1, "password"), (8, 10, 97, "compression")],
    ids=["encrypted", "other method"],
)
def test_archives_packed_in_another_way_are_refused_in_a_line(
    local, central, value, told, ending, tmp_path
):
    content = io.BytesIO()
    np.save(content, np.ones((2, 2), np.float32))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(f"v.{ending}", b"a 1 2\n" if ending == "txt" else content.getvalue())
    changed = bytearray((tmp_path / "a.zip").read_bytes())
    changed[changed.index(b"PK\x03\x04") + local] = value
    changed[changed.index(b"PK\x01\x02") + central] = value
    (tmp_path / "a.zip").write_bytes(changed)
    with pytest.raises(KDError, match=rf"^\S*/a\.zip: v\.{ending} must be packed.* {told}"):
        read_vectors(tmp_path / "a.zip")


@pytest.mark.parametrize("suffix", [".txt", ".bin", ".safetensors"])
def test_half_a_surrogate_is_no_word_of_a_file(suffix, tmp_path):
    table = TableEmbedding(torch.ones(1, 2))
    with pytest.raises(KDError, match="cannot be written as UTF-8"):
        write_vectors(tmp_path / f"t{suffix}", ["\ud800"], table)
    with pytest.raises(KDError, match=r"cannot write .*surrogates not allowed"):
        WordVectors(("\ud800",), torch.ones(1, 2)).save(tmp_path / "t.safetensors")
    assert not any(tmp_path.iterdir())
