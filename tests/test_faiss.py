"""The learner that calls faiss, held to what faiss itself composes."""

import sys

import faiss
import pytest
import torch

from kdcore import KDError
from kdcore.learners import LEARNERS, Control, LearnedCodes, LearnerInputs
from kdcore.vectors import relative_error

N, SIZE = 600, 12
pytestmark = pytest.mark.filterwarnings("ignore:.*no smaller than the table")


def learn(vectors: torch.Tensor, seed: int = 0, **settings) -> LearnedCodes:
    chosen = LEARNERS.parse({"kind": "faiss", "K": 8, "D": 4, **settings})
    return chosen.module.learn(chosen, LearnerInputs(len(vectors), vectors), seed, Control())


def composed(learned: LearnedCodes) -> torch.Tensor:
    return learned.transform.compose_all(learned.codes.tensor())


def test_codes_and_books_compose_what_faiss_decodes():
    vectors = torch.randn(N, SIZE) + 1.0
    quantizer = faiss.ResidualQuantizer(SIZE, 4, 3)
    quantizer.max_beam_size = 16
    quantizer.train_type |= faiss.ResidualQuantizer.Train_refine_codebook
    quantizer.cp.seed = 5
    quantizer.train(vectors.numpy())
    decoded = quantizer.decode(quantizer.compute_codes(vectors.numpy()))
    torch.testing.assert_close(composed(learn(vectors, 5)), torch.from_numpy(decoded))


def test_a_group_a_position_is_a_product_quantizer():
    vectors = torch.randn(N, 9)  # 9 components in 4 groups: the first takes one more
    learned = learn(vectors, groups=4)
    books = [learned.transform.slice_books(group) for group in range(4)]
    start = 0
    for group, of in enumerate(books):
        part = vectors[:, start : start + of.shape[-1]]
        nearest = torch.cdist(part, of.reshape(8, -1)).argmin(1)
        assert torch.equal(nearest, learned.codes.tensor()[:, group])
        start += of.shape[-1]
    assert start == 9


def test_local_search_and_a_wider_beam_lose_less():
    vectors = torch.randn(N, SIZE)
    errors = {
        name: relative_error(vectors, composed(learn(vectors, **settings)))
        for name, settings in {
            "narrow": {"beam": 1}, "wide": {"beam": 32}, "search": {"quantizer": "local_search"},
            "groups": {"groups": 2, "quantizer": "local_search"},
        }.items()
    }  # fmt: skip
    assert max(errors["wide"], errors["search"]) < errors["narrow"] < errors["groups"] + 0.1
    assert errors["search"] < errors["groups"]


@pytest.mark.parametrize("quantizer", ["residual", "local_search"])
def test_equal_seeds_give_equal_codes_and_threads_are_left_as_they_were(quantizer):
    vectors, threads = torch.randn(200, SIZE), faiss.omp_get_max_threads()
    first, second = (learn(vectors, 3, quantizer=quantizer) for _ in range(2))
    assert torch.equal(first.codes.tensor(), second.codes.tensor())
    assert torch.equal(composed(first), composed(second))
    assert faiss.omp_get_max_threads() == threads


def test_what_faiss_cannot_take_is_one_line(monkeypatch):
    with pytest.raises(KDError, match=r"K must be a power of two for faiss, got 12"):
        LEARNERS.parse({"kind": "faiss", "K": 12, "D": 4}, "codes.x")
    with pytest.raises(KDError, match="vectors must be at least K = 8 for faiss, got 5"):
        learn(torch.randn(5, SIZE))
    with pytest.raises(KDError, match="groups must divide the D = 4 positions, got 3"):
        learn(torch.randn(50, SIZE), groups=3)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(KDError, match=r"needs faiss, which is not installed: pip install"):
        learn(torch.randn(50, SIZE))
