import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdcore import Codes, KDError
from kdcore.tensors import save_tensors


@st.composite
def index_tables(draw):
    K = draw(st.sampled_from([2, 3, 6, 50, 64, 100, 257, 70_000]))
    N, D = draw(st.integers(1, 20)), draw(st.integers(1, 12))
    return K, draw(arrays(np.int64, (N, D), elements=st.integers(0, K - 1)))


@given(index_tables())
def test_packing_keeps_every_index_in_the_fewest_bytes(table):
    K, indices = table
    codes = Codes(indices, K)
    assert torch.equal(codes.tensor(), torch.from_numpy(indices))
    bits = math.ceil(math.log2(K))
    assert len(codes.packed) == math.ceil(indices.size * bits / 8)


@pytest.mark.parametrize(
    ("kind", "K"), [("uint8", 256), ("uint8", 300), ("int8", 128), ("uint16", 65536), ("uint64", 9)]
)
def test_integers_of_any_width(kind, K):
    indices = np.array([[0, min(K, np.iinfo(kind).max + 1) - 1]], dtype=kind)
    assert Codes(indices, K).tensor().tolist() == indices.tolist()


@given(index_tables(), st.data())
def test_random_access_agrees_with_unpacking_all(table, data):
    K, indices = table
    codes = Codes(indices, K)
    i = data.draw(st.integers(-len(indices), len(indices) - 1))
    j = data.draw(st.integers(0, indices.shape[1] - 1))
    assert codes[i, j] == indices[i, j]
    assert codes[i].tolist() == indices[i].tolist()
    assert codes[[i, 0], j].tolist() == [indices[i, j], indices[0, j]]
    assert codes[[i, 0], [j, 0]].tolist() == [indices[i, j], indices[0, 0]]
    assert torch.equal(codes[:, [j, 0]], codes.tensor()[:, [j, 0]])
    assert torch.equal(codes[[[i], [0]], [j, 0]], codes.tensor()[[[i], [0]], [j, 0]])
    assert torch.equal(codes[[[i, 0]], :], codes.tensor()[[[i, 0]], :])
    assert torch.equal(codes[[]], codes.tensor()[[]])


def test_access_outside_is_refused():
    codes = Codes([[0, 1], [1, 0]], 2)
    for index in (2, -3, (0, 2), ([0, 5], 0)):
        with pytest.raises(IndexError):
            codes[index]


@pytest.mark.parametrize("wrong", [None, "a", 1.5, True, ..., (0, "a")])
def test_what_is_no_index_is_refused_in_a_line(wrong):
    with pytest.raises(IndexError, match="an index must be integers") as refused:
        Codes([[3, 1], [2, 1]], K=6)[wrong]
    assert "\n" not in str(refused.value)


def test_one_index_is_read_without_the_rest():
    codes = Codes.random(1000, 50, 10, seed=0)
    reads = []

    class Spy(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            if function is torch.Tensor.index_select:
                reads.append(args[2].numel())
            return super().__torch_function__(function, types, args, kwargs or {})

    expected = int(codes[700, 3])
    codes.packed = codes.packed.as_subclass(Spy)
    assert int(codes[700, 3]) == expected
    assert 0 < sum(reads) <= 3


def test_loaded_codes_equal_saved_ones(tmp_path):
    codes = Codes.random(37, 6, 4, seed=1)
    codes.save(tmp_path / "codes.safetensors")
    assert Codes.load(tmp_path / "codes.safetensors") == codes
    assert codes != Codes.random(37, 6, 4, seed=2)


def test_loading_refuses_damage_and_other_kinds(tmp_path):
    path = tmp_path / "codes.safetensors"
    Codes.random(37, 6, 4, seed=1).save(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(KDError, match="damaged"):
        Codes.load(path)
    path.write_bytes(b"\x80\x04K\x01.")  # a pickle
    with pytest.raises(KDError, match="damaged"):
        Codes.load(path)
    with pytest.raises(KDError, match="no such file"):
        Codes.load(tmp_path / "absent")


@pytest.mark.parametrize(
    ("indices", "K", "message"),
    [
        ([[0, 5]], 5, "index 1 of code 0 must be from 0 to K - 1 = 4, got 5"),
        ([[0, -1]], 5, "index 1 of code 0 must be .*, got -1"),
        ([[0]], 1, "K must be at least 2, got 1"),
        ([[0]], 2**56 + 1, r"K must be at most 2\^56"),
        (np.zeros((3, 0), int), 4, "D must be at least 1, got 0"),
        (np.zeros((0, 3), int), 4, "N > 0"),
        ([[0.5]], 4, "integers"),
        ([[0, 1], [1]], 4, "must be a table of integers"),
    ],
)
def test_bad_codes_are_refused_in_one_line(indices, K, message):
    with pytest.raises(KDError, match=message) as caught:
        Codes(indices, K)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"N": -1, "K": 4, "D": 2}, "N must be at least 1, got -1"),
        ({"N": 5, "K": 2.0, "D": 2}, "K must be an integer, got 2.0"),
        ({"N": 5, "K": 2, "D": "2"}, "D must be an integer, got '2'"),
    ],
)
def test_impossible_shape_is_refused_in_one_line(shape, message):
    with pytest.raises(KDError, match=message):
        Codes.random(**shape, seed=1)


def test_K_may_be_any_integer(tmp_path):
    Codes([[0, 1]], np.int64(4)).save(tmp_path / "codes")
    assert Codes.load(tmp_path / "codes").K == 4


def test_file_that_lacks_a_tensor_is_refused(tmp_path):
    save_tensors(tmp_path / "codes", {}, {"kind": "codes", "K": 4})
    with pytest.raises(KDError, match="damaged, 'packed' is missing"):
        Codes.load(tmp_path / "codes")


def test_rows_of_several_codes_are_joined_in_order():
    one, other = Codes.random(5, 6, 4, seed=1), Codes.random(3, 6, 4, seed=2)
    joined = Codes.cat([one, other])
    assert joined.tensor().tolist() == one.tensor().tolist() + other.tensor().tolist()
    with pytest.raises(KDError, match=r"of one K and D, got \(K, D\) = \[\(6, 4\), \(7, 4\)\]"):
        Codes.cat([one, Codes.random(3, 7, 4, seed=2)])
    with pytest.raises(KDError, match="of one K and D"):
        Codes.cat([])


def test_statistics_of_known_codes():
    health = Codes([[0, 0], [0, 1], [0, 2], [0, 2]], 4).statistics()
    assert health.entropy == (0.0, 1.5)
    assert health.used == (1, 3)
    assert (health.unique, health.collisions, health.largest) == (3, 2, 2)


@pytest.mark.parametrize(("K", "D"), [(2, 3), (3, 80), (2**20, 5)])
def test_equal_codes_are_found_however_long_they_are(K, D):
    """Also those that fit no integer of 64 bits."""
    few = Codes.random(40, K, D, seed=1).tensor()
    indices = few[torch.randint(len(few), (300,))]
    indices[1::2, -1] = 0
    _, sizes = torch.unique(indices, dim=0, return_counts=True)
    health = Codes(indices, K).statistics()
    expected = len(sizes), int(sizes[sizes > 1].sum()), int(sizes.max())
    assert (health.unique, health.collisions, health.largest) == expected


def test_random_codes_are_uniform_and_seeded():
    codes = Codes.random(10_000, 50, 10, seed=3)
    assert codes == Codes.random(10_000, 50, 10, seed=3)
    health = codes.statistics()
    assert min(health.entropy) > math.log2(50) - 0.01
    assert health.unique == 10_000


def test_format_is_that_of_table_2():
    assert Codes([[3, 1, 0, 4]], 6).format(0) == "3-1-0-4"


def test_codes_are_an_array_to_numpy():
    codes = Codes.random(200, 50, 3, seed=0)
    assert np.array_equal(np.asarray(codes), codes.tensor().numpy())
    assert np.asarray(codes, dtype=np.int16).dtype == np.int16
    with pytest.raises(ValueError, match="without a copy"):
        np.array(codes, copy=False)


def test_equal_codes_are_equal_whatever_stands_behind_the_last_bit():
    codes = Codes([[1, 2, 3]], K=6)
    padded = codes.packed | torch.tensor([0, 0b11111110], dtype=torch.uint8)
    assert Codes.from_packed(padded, 6, (1, 3)) == codes


def test_loading_takes_a_small_multiple_of_the_file(tmp_path):
    """Measured in a process of its own: what was allocated before is not seen."""
    N, D = 300_000, 10
    packed = torch.randint(256, (N * D * 6 // 8,), dtype=torch.uint8)
    Codes.from_packed(packed, 64, (N, D)).save(tmp_path / "codes")
    measure = (
        "import resource, sys; from kdcore import Codes, KDEmbedding;"
        "Codes.random(100, 50, 10, 0).save(sys.argv[2]); KDEmbedding(Codes.load(sys.argv[2]), 4);"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "before = peak(); KDEmbedding(Codes.load(sys.argv[1]), 4); print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", measure, tmp_path / "codes", tmp_path / "small"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) * 1024 < 8 * len(packed)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_rows_may_be_asked_for_by_integers_of_any_type(kind):
    codes = Codes.random(300, K=5, D=9, seed=0)
    rows = torch.tensor([100, 0], dtype=kind)
    assert torch.equal(codes[rows], codes.tensor()[[100, 0]])
    if kind.is_signed:
        assert torch.equal(codes[torch.tensor([-1], dtype=kind)], codes.tensor()[[-1]])
    assert torch.equal(codes[rows, torch.tensor(8, dtype=kind)], codes.tensor()[[100, 0], 8])


def test_indices_may_stand_in_any_order():
    table = np.arange(12).reshape(4, 3)
    assert Codes(table[::-1, ::-1].astype(">i4"), K=12) == Codes(table[::-1, ::-1].copy(), K=12)
    assert Codes(table[::-1], K=12) == Codes(table[::-1].copy(), K=12)


def test_a_header_that_is_no_object_is_refused(tmp_path):
    save_tensors(tmp_path / "other", {}, ["codes"])
    with pytest.raises(KDError, match="other: holds 'no kdcore data', not 'codes'"):
        Codes.load(tmp_path / "other")
