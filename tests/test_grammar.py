import itertools
import math
from collections import Counter

import pytest
import torch

from kdcore.errors import KDError
from kdlab.corpus import EOS
from kdlab.grammar import NEWSWIRE, TOPICS, class_of, generate, topical
from kdlab.texts import TEXTS

GRAMMARS = {"newswire": NEWSWIRE, "topics": topical(topics=3, words=4)}
every_grammar = pytest.mark.parametrize("grammar", GRAMMARS.values(), ids=GRAMMARS)


def sentences(grammar, symbol="<text>"):
    """Every sequence of classes and plain words that a symbol can become, with its share."""
    if symbol not in grammar.rules:
        return {(symbol,): 1.0}
    total = sum(weight for weight, _ in grammar.rules[symbol])
    found = Counter()
    for weight, body in grammar.rules[symbol]:
        parts = [sentences(grammar, part).items() for part in body.split()]
        for choice in itertools.product(*parts):
            sequence = sum((c[0] for c in choice), ())
            found[sequence] += weight / total * math.prod(c[1] for c in choice)
    return found


@every_grammar
def test_a_word_has_one_class(grammar):
    words = [word for words in grammar.classes.values() for word in words]
    assert len(words) == len(set(words))
    for name, members in grammar.classes.items():
        assert {class_of(word) for word in members} == {name}
    assert class_of("the") is None and class_of("steel-firm-") is None


@every_grammar
def test_no_sentence_can_be_drawn_in_two_ways(grammar):
    def possible(part):
        return set(grammar.classes.get(part, (part,)))

    by_length = {}
    for sequence in sentences(grammar):
        by_length.setdefault(len(sequence), []).append([possible(part) for part in sequence])
    for group in by_length.values():
        for a, b in itertools.combinations(group, 2):
            assert any(not (x & y) for x, y in zip(a, b, strict=True))

    def count(symbol):
        if symbol not in grammar.rules:
            return 1
        return sum(math.prod(count(p) for p in body.split()) for _, body in grammar.rules[symbol])

    assert count("<text>") == len(sentences(grammar))


@every_grammar
def test_the_floor_is_the_entropy_of_the_sentences(grammar):
    def nats(part):
        if part not in grammar.classes:
            return 0.0
        shares = grammar.class_shares(part)
        return float(-(shares * torch.log(torch.tensor(shares)).numpy()).sum())

    entropy = length = 0.0
    for sequence, share in sentences(grammar).items():
        entropy += share * (-math.log(share) + sum(nats(part) for part in sequence))
        length += share * (len(sequence) + 1)
    assert grammar.floor_perplexity() == pytest.approx(math.exp(entropy / length))


@every_grammar
def test_text_is_seeded_and_follows_the_grammar(grammar):
    corpus = generate(20_000, 5, grammar)
    assert corpus.digest == generate(20_000, 5, grammar).digest
    assert corpus.digest != generate(20_000, 6, grammar).digest
    assert 20_000 <= len(corpus.train) < 20_050
    assert 2_000 <= len(corpus.valid) < 2_050
    known = {EOS} | {word for words in grammar.classes.values() for word in words}
    known |= {p for rules in grammar.rules.values() for _, body in rules for p in body.split()}
    assert set(corpus.words) <= known
    counts = dict(zip(corpus.words, torch.bincount(corpus.train).tolist(), strict=True))
    days = [counts[day] for day in grammar.classes["WEEKDAY"]]
    shares = torch.tensor(days) / sum(days)
    torch.testing.assert_close(
        shares.double(), torch.tensor(grammar.class_shares("WEEKDAY")), atol=0.05, rtol=0
    )


def test_a_sentence_keeps_to_one_topic():
    corpus = generate(5_000, 5, GRAMMARS["topics"])
    sentence, seen = set(), set()
    for i in corpus.train.tolist():
        if corpus.words[i] == EOS:
            assert len(sentence) == 1
            seen |= sentence
            sentence = set()
        elif "-" in (class_of(corpus.words[i]) or ""):
            sentence.add(corpus.words[i].split("-")[0])
    assert seen == set(TOPICS[:3])


@pytest.mark.parametrize(
    ("topics", "message"),
    [
        ({"count": 16, "words": 5}, "topics.count must be at most 15, got 16"),
        ({"count": 5, "words": 0}, "topics.words must be at least 1, got 0"),
    ],
)
def test_topics_that_cannot_be_are_refused(topics, message):
    with pytest.raises(KDError, match=message):
        TEXTS.parse({"kind": "generated", "training_tokens": 2000, "seed": 1, "topics": topics})
