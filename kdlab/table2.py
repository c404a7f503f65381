"""Table 2: the words that share a code, and whether like codes mean like words."""

import pandas as pd
import torch

from kdcore.codes import Codes
from kdcore.vectors import WordVectors
from kdlab.experiment import Experiment
from kdlab.grammar import class_of
from kdlab.measures import cosine_by_shared_positions, nmi, tightest_codes
from kdlab.tables import as_markdown_text
from kdlab.vectors import VECTORS

SHOWN_CODES = 12
SHOWN_WORDS = 14


def shown_codes(words: WordVectors, codes: Codes) -> list[str]:
    """The codes that show it best: those of 5 to 40 words that are most alike, tightest first."""
    return tightest_codes(words.vectors, codes.groups())[:SHOWN_CODES]


def source(experiment: Experiment) -> str:
    """What the vectors of Table 2 are."""
    vectors, _ = experiment.table2()
    return VECTORS.parse(vectors.settings).title


def listing(words: WordVectors, codes: Codes) -> pd.DataFrame:
    """Every code in use (`code`) and its words (`words`), separated by spaces."""
    groups = codes.groups()
    rows = [(code, " ".join(words.words[i] for i in groups[code])) for code in sorted(groups)]
    return pd.DataFrame(rows, columns=["code", "words"])


def similarity(words: WordVectors, codes: Codes) -> pd.DataFrame:
    """How alike words are by the positions that their codes share, of these codes and random ones.

    Where most words have a class in the demo's grammar, agreement with the classes too.
    """
    classes = {i: name for i, word in enumerate(words.words) if (name := class_of(word))}
    known, names = list(classes), sorted(set(classes.values()))
    labels = torch.tensor([names.index(name) for name in classes.values()])
    rows: list[dict] = []
    random = Codes.random(len(codes), codes.K, codes.D, seed=1)
    for kind, these in (("learned", codes), ("random", random)):
        indices = these.tensor()
        cosines = cosine_by_shared_positions(words.vectors, indices)
        rows += [
            {"codes": kind, "measure": "mean cosine", "shared_positions": s, "value": float(c)}
            for s, c in enumerate(cosines)
        ]
        if len(known) > len(words.words) / 2:
            _, whole = torch.unique(indices, dim=0, return_inverse=True)
            value = nmi(labels, whole[torch.tensor(known)])
            rows.append({"codes": kind, "measure": "NMI with word classes", "value": value})
    table = pd.DataFrame(rows, columns=["codes", "measure", "shared_positions", "value"])
    return table.astype({"shared_positions": "Int64"})


def caption(words: WordVectors, codes: Codes, source: str) -> str:
    """What the listing shows.

    Args:
        source: what the vectors are.
    """
    shown = shown_codes(words, codes)
    return (
        f"Table 2. Words that share a code: K = {codes.K}, D = {codes.D}, {len(words.words):,} "
        f"words, {source}. The {len(shown)} tightest codes of 5 to 40 words, up to "
        f"{SHOWN_WORDS} words each, by falling frequency; `table2.csv` has all "
        f"{len(codes.groups()):,} codes in use of {codes.K**codes.D:,}."
    )


def shown(words: WordVectors, codes: Codes) -> list[tuple[str, list[str], int]]:
    """The codes of the listing in order: the code, its first words, and how many more it has."""
    groups = codes.groups()
    rows = []
    for code in sorted(shown_codes(words, codes)):
        members = [words.words[i] for i in groups[code]]
        rows.append((code, members[:SHOWN_WORDS], len(members[SHOWN_WORDS:])))
    return rows


def as_markdown(words: WordVectors, codes: Codes, source: str) -> str:
    """The listing, words shown as they are whatever Markdown makes of their signs."""
    lines = [caption(words, codes, source), "", "| Code | Words |", "| --- | --- |"]
    for code, members, more in shown(words, codes):
        text = as_markdown_text(" ".join(members)) + (f" (+{more})" if more else "")
        lines.append(f"| {code} | {text} |")
    return "\n".join(lines) + "\n"
