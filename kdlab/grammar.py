"""The demo corpus: newswire-like sentences drawn from a small seeded grammar.

The Penn Treebank may not be shipped, so this text is. Its words come in classes of like meaning,
against which codes can be scored, and its entropy is known exactly, which gives perplexity a floor.

Most hand-written words say little of what follows. With topics (`topical`) they do: every topic has
classes of words of its own, a sentence keeps to one topic, and who knows the topic of a word knows
among which words the next one is.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from kdlab.corpus import Corpus

CLASSES: dict[str, tuple[str, ...]] = {
    name: tuple(words.split())
    for name, words in {
        "WEEKDAY": "monday tuesday wednesday thursday friday saturday sunday",
        "MONTH": "january february march april may june july august september october november "
        "december",
        "YEAR": "1987 1988 1989 1990 1991 1992 1993 1994",
        "NUMBER": "two three four five six seven eight nine ten eleven twelve fifteen twenty "
        "thirty forty fifty sixty seventy eighty ninety",
        "SCALE": "million billion trillion",
        "MONEY": "dollars pounds francs marks yen lire pesos crowns",
        "COMPANY": "alcor brandt corvex delmar eastgate fenwick garnet halden ironbridge jasper "
        "kestrel lorimer meridian northam orford pelham quillon redmond-hale sable tarrant umber "
        "varney westlake yarrow zenith ashdown bexley caldwell dunmore ellison",
        "SECTOR": "steel oil banking insurance retail software shipping mining chemical textile "
        "paper media tobacco defense aerospace",
        "SURNAME": "abbott barlow carver dalton emery foster grant harlow ingram jarvis keller "
        "lambert mercer nolan osgood porter quimby rowland sutton thorne upton vance whitman yates",
        "ROLE": "chairman president spokesman analyst economist director trader lawyer senator "
        "minister regulator banker broker manager treasurer",
        "PLACE": "london paris tokyo boston chicago houston dallas geneva milan madrid vienna oslo "
        "toronto sydney denver seattle atlanta frankfurt brussels lisbon",
        "COUNTRY": "france germany japan britain canada italy spain mexico brazil sweden norway "
        "austria australia china india",
        "GOODS": "cars trucks computers engines tires drugs shoes toys planes ships phones radios "
        "cameras tractors boats printers",
        "CROP": "wheat corn coffee sugar cotton cocoa soybeans rice barley oats",
        "MEASURE": "sales profit revenue earnings output demand income exports imports orders "
        "spending inventories costs debt losses",
        "MARKET": "stocks bonds futures shares prices rates yields currencies options metals",
        "RISE": "rose climbed jumped gained surged advanced rallied soared rebounded edged",
        "FALL": "fell dropped slid declined tumbled plunged slipped sank weakened retreated",
        "MANNER": "sharply slightly steadily modestly quickly slowly broadly strongly suddenly "
        "gradually",
        "SAY": "said reported announced added warned noted predicted argued explained confirmed",
        "BUY": "bought acquired sold ordered built shipped imported designed leased tested",
        "HOPE": "expects plans hopes intends wants agreed decided promised",
        "DO": "expand cut raise sell close review finance restructure merge delay",
        "UNIT": "plant division factory subsidiary office refinery network warehouse laboratory "
        "terminal",
        "GOOD": "strong higher record solid healthy better favorable steady robust improved",
        "BAD": "weak lower poor sluggish soft disappointing falling slow uncertain difficult",
        "NEW": "new large small foreign domestic local major former private big",
        "DECADE": "quarter week month year season session period",
    }.items()
}

# Each line: weight, then classes (upper case), rules (in angle brackets) and plain words.
RULES: dict[str, tuple[tuple[float, str], ...]] = {
    "<text>": (
        (5, "<measure> <move> <by> <when>"),
        (4, "MARKET <move> in PLACE trading <when>"),
        (4, "<person> SAY that <clause>"),
        (3, "<firm> BUY <number> GOODS from COUNTRY <when>"),
        (3, "<firm> HOPE to DO its <adjective> UNIT in PLACE"),
        (2, "CROP prices <move> because of <outlook> demand in COUNTRY"),
        (2, "the UNIT in COUNTRY made GOODS worth <sum>"),
    ),
    "<clause>": (
        (3, "<measure> <move> <when>"),
        (2, "<firm> HOPE to DO its <adjective> UNIT"),
        (2, "the outlook for MARKET is <outlook>"),
        (1, "CROP exports to COUNTRY <move>"),
    ),
    "<measure>": ((3, "MEASURE at <firm>"), (1, "total SECTOR MEASURE")),
    "<firm>": ((3, "COMPANY"), (1, "the SECTOR company COMPANY")),
    "<person>": ((2, "mr. SURNAME"), (2, "a ROLE at <firm>"), (1, "one SECTOR ROLE")),
    "<move>": ((3, "RISE"), (3, "FALL"), (2, "RISE MANNER"), (2, "FALL MANNER")),
    "<by>": ((3, "<number> percent"), (2, "to <sum>"), (1, "<number> points")),
    "<sum>": ((1, "<number> SCALE MONEY"),),
    "<number>": ((3, "NUMBER"), (1, "nearly NUMBER")),
    "<when>": ((3, "on WEEKDAY"), (2, "in MONTH"), (1, "in MONTH YEAR"), (2, "this DECADE")),
    "<adjective>": ((1, "NEW"),),
    "<outlook>": ((1, "GOOD"), (1, "BAD")),
}


# What the sentences of a topic are like; `@good` stands for a word of its class of that name.
TOPIC_RULES: tuple[tuple[float, str], ...] = (
    (4, "@firm @deal @good"),
    (3, "@firm @deal @good in @town"),
    (3, "@boss of @firm wants NEW @good"),
    (2, "@good from @town <move> on WEEKDAY"),
    (2, "@boss SAY that @firm @deal @good"),
)
TOPICS = CLASSES["SECTOR"]
TOPIC_CLASSES = tuple(sorted(set(re.findall(r"@(\w+)", " ".join(body for _, body in TOPIC_RULES)))))


@dataclass(frozen=True)
class Grammar:
    """Weighted rules without context, in which no sentence can be drawn in two ways.

    Attributes:
        classes: words of like meaning, the most frequent first.
        rules: weights, and bodies of classes, rules (in angle brackets) and plain words; a text is
            made of `<text>`.
    """

    classes: Mapping[str, tuple[str, ...]]
    rules: Mapping[str, tuple[tuple[float, str], ...]]

    def rule_shares(self, name: str) -> np.ndarray:
        """How often each line of a rule is taken."""
        weights = np.array([weight for weight, _ in self.rules[name]], dtype=float)
        return weights / weights.sum()

    def class_shares(self, name: str) -> np.ndarray:
        """Zipf's law within a class: the r-th word has a share in proportion to 1 / r."""
        weights = 1.0 / np.arange(1, len(self.classes[name]) + 1)
        return weights / weights.sum()

    def floor_perplexity(self) -> float:
        """exp of the entropy per token, `<eos>` included: no model of the text can do better.

        Exact, because no sentence can be drawn in two ways: a sentence's entropy is the sum over
        the choices that make it.
        """
        entropy, length = self._entropy_and_length("<text>")
        return math.exp(entropy / (length + 1))

    def _entropy_and_length(self, symbol: str) -> tuple[float, float]:
        """Expected nats and tokens of what a symbol expands to."""
        if symbol in self.classes:
            return _entropy(self.class_shares(symbol)), 1.0
        if symbol not in self.rules:
            return 0.0, 1.0
        shares = self.rule_shares(symbol)
        entropy, length = _entropy(shares), 0.0
        for share, (_, body) in zip(shares, self.rules[symbol], strict=True):
            for part in body.split():
                nats, tokens = self._entropy_and_length(part)
                entropy += share * nats
                length += share * tokens
        return entropy, length


def _entropy(shares: np.ndarray) -> float:
    return float(-(shares * np.log(shares)).sum())


NEWSWIRE = Grammar(CLASSES, RULES)


@cache
def topical(topics: int, words: int) -> Grammar:
    """Sentences that keep to one of several topics, all as frequent.

    A topic's words are named by topic, class and rank, such as `steel-firm-3`, for who reads the
    text; a model sees numbers.

    Args:
        topics: how many, at most 15.
        words: of each of a topic's five classes.

    Example:
        >>> topical(topics=2, words=3).classes["oil-firm"]
        ('oil-firm-1', 'oil-firm-2', 'oil-firm-3')
    """
    classes, rules = dict(CLASSES), dict(RULES)
    chosen = TOPICS[:topics]
    rules["<text>"] = tuple((1.0, f"<{topic}>") for topic in chosen)
    for topic in chosen:
        rules[f"<{topic}>"] = tuple((w, body.replace("@", f"{topic}-")) for w, body in TOPIC_RULES)
        for name in TOPIC_CLASSES:
            ranks = range(1, words + 1)
            classes[f"{topic}-{name}"] = tuple(f"{topic}-{name}-{rank}" for rank in ranks)
    return Grammar(classes, rules)


_CLASS_OF = {word: name for name, words in CLASSES.items() for word in words}
_TOPIC_WORD = re.compile(rf"((?:{'|'.join(TOPICS)})-(?:{'|'.join(TOPIC_CLASSES)}))-\d+")


def class_of(word: str) -> str | None:
    """The class of a word, in any of the grammars; function words have none.

    Example:
        >>> class_of("monday"), class_of("oil-firm-3"), class_of("the")
        ('WEEKDAY', 'oil-firm', None)
    """
    found = _TOPIC_WORD.fullmatch(word)
    return found[1] if found else _CLASS_OF.get(word)


def generate(tokens: int, seed: int, grammar: Grammar = NEWSWIRE) -> Corpus:
    """Draw a corpus of about `tokens` training tokens, a tenth of that for valid and test each.

    Args:
        seed: of the random draws; equal seeds give equal text.
    """
    draw = _Drawer(grammar, np.random.default_rng(seed))
    parts = {"train": tokens, "valid": tokens // 10, "test": tokens // 10}
    return Corpus.from_lines({split: list(draw.lines(size)) for split, size in parts.items()})


class _Drawer:
    def __init__(self, grammar: Grammar, random: np.random.Generator):
        self.grammar, self.random = grammar, random
        self.cumulative = {name: np.cumsum(grammar.rule_shares(name)) for name in grammar.rules}
        self.cumulative |= {name: np.cumsum(grammar.class_shares(name)) for name in grammar.classes}

    def lines(self, tokens: int) -> Iterator[str]:
        while tokens > 0:
            words = self._expand("<text>")
            tokens -= len(words) + 1
            yield " ".join(words)

    def _expand(self, symbol: str) -> list[str]:
        if symbol not in self.cumulative:
            return [symbol]
        cumulative = self.cumulative[symbol]
        choice = min(
            int(np.searchsorted(cumulative, self.random.random(), side="right")),
            len(cumulative) - 1,
        )
        if symbol in self.grammar.classes:
            return [self.grammar.classes[symbol][choice]]
        body = self.grammar.rules[symbol][choice][1]
        return [word for part in body.split() for word in self._expand(part)]
