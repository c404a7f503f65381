"""Gumbel-softmax codes against the published network and what it is for."""

import pytest
import torch

from kdcore import KDError
from kdcore.learners import LEARNERS, Control, LearnerInputs
from kdcore.learners.gumbel import Encoder
from kdcore.vectors import relative_error


def learn(vectors, seed=0, **settings):
    chosen = LEARNERS.parse({"kind": "gumbel", **settings})
    return chosen.module.learn(chosen, LearnerInputs(len(vectors), vectors), seed, Control())


@pytest.fixture
def clustered():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(8, 6, generator=generator)
    return centres[torch.arange(400) % 8] + 0.05 * torch.randn(400, 6, generator=generator) + 2.0


def test_the_encoder_is_the_published_one():
    encoder = Encoder(5, K=4, D=3)
    v = torch.randn(7, 5)
    h = torch.tanh(v @ encoder.hidden.weight.T + encoder.hidden.bias)
    assert h.shape == (7, 3 * 4 // 2)
    alpha = torch.log1p(torch.exp(h @ encoder.alpha.weight.T + encoder.alpha.bias)).view(7, 3, 4)
    torch.testing.assert_close(encoder(v).exp(), alpha, rtol=1e-4, atol=1e-6)
    assert torch.equal(encoder.indices(v), alpha.argmax(2))


def test_codes_and_books_compose_the_vectors_with_the_error_that_is_told(clustered):
    learned = learn(clustered, K=4, D=3, epochs=100, learning_rate=0.02, batch_size=50)
    composed = learned.transform.compose_all(learned.codes.tensor())
    error = relative_error(clustered, composed)
    assert error == pytest.approx(min(record.error for record in learned.history), rel=1e-3)
    # Eight clusters are told apart.
    assert error < 0.1


def test_learning_that_diverges_is_told_in_one_line(clustered):
    with pytest.raises(KDError, match="diverged in epoch"):
        learn(clustered, K=4, D=3, epochs=5, learning_rate=1e30)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"K": 1, "D": 2}, "K must be at least 2, got 1"),
        ({"K": 4, "D": 2, "temperature": 0}, "temperature must be above 0, got 0"),
        ({"K": 4, "D": 2, "max_grad_norm": 0}, "max_grad_norm must be above 0, got 0"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(settings, message):
    with pytest.raises(KDError, match=message):
        LEARNERS.parse({"kind": "gumbel", **settings})
