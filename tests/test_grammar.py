import itertools
import math
from collections import Counter

import pytest
import torch

from kdlab.corpus import EOS
from kdlab.grammar import (
    CLASSES,
    RULES,
    class_shares,
    floor_perplexity,
    generate,
    word_classes,
)


def sentences(symbol="<text>"):
    """Every sequence of classes and plain words that a symbol can become, with its share."""
    if symbol not in RULES:
        return {(symbol,): 1.0}
    total = sum(weight for weight, _ in RULES[symbol])
    found = Counter()
    for weight, body in RULES[symbol]:
        parts = [sentences(part).items() for part in body.split()]
        for choice in itertools.product(*parts):
            sequence = sum((c[0] for c in choice), ())
            found[sequence] += weight / total * math.prod(c[1] for c in choice)
    return found


def test_a_word_has_one_class():
    words = [word for words in CLASSES.values() for word in words]
    assert len(words) == len(set(words)) == len(word_classes())


def test_no_sentence_can_be_drawn_in_two_ways():
    def possible(part):
        return set(CLASSES.get(part, (part,)))

    by_length = {}
    for sequence in sentences():
        by_length.setdefault(len(sequence), []).append([possible(part) for part in sequence])
    for group in by_length.values():
        for a, b in itertools.combinations(group, 2):
            assert any(not (x & y) for x, y in zip(a, b, strict=True))
    derivations = 0

    def count(symbol):
        if symbol not in RULES:
            return 1
        return sum(math.prod(count(p) for p in body.split()) for _, body in RULES[symbol])

    derivations = count("<text>")
    assert derivations == len(sentences())


def test_the_floor_is_the_entropy_of_the_sentences():
    def nats(part):
        if part not in CLASSES:
            return 0.0
        shares = class_shares(part)
        return float(-(shares * torch.log(torch.tensor(shares)).numpy()).sum())

    entropy = length = 0.0
    for sequence, share in sentences().items():
        entropy += share * (-math.log(share) + sum(nats(part) for part in sequence))
        length += share * (len(sequence) + 1)
    assert floor_perplexity() == pytest.approx(math.exp(entropy / length))


def test_text_is_seeded_and_follows_the_grammar():
    corpus = generate(20_000, seed=5)
    assert corpus.digest == generate(20_000, seed=5).digest
    assert corpus.digest != generate(20_000, seed=6).digest
    assert 20_000 <= len(corpus.train) < 20_050
    assert 2_000 <= len(corpus.valid) < 2_050
    known = {EOS, *word_classes()}
    known |= {p for rules in RULES.values() for _, body in rules for p in body.split()}
    assert set(corpus.words) <= known
    counts = dict(zip(corpus.words, torch.bincount(corpus.train).tolist(), strict=True))
    days = [counts[day] for day in CLASSES["WEEKDAY"]]
    shares = torch.tensor(days) / sum(days)
    torch.testing.assert_close(
        shares.double(), torch.tensor(class_shares("WEEKDAY")), atol=0.05, rtol=0
    )
