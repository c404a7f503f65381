"""List the words that share a code (Table 2), and measure whether like codes mean like words."""

from pathlib import Path
from typing import Annotated

import _script
import pandas as pd
import torch
import typer

from kdcore.codes import Codes
from kdcore.files import write_text
from kdcore.vectors import WordVectors
from kdlab.grammar import word_classes
from kdlab.measures import cosine_by_shared_positions, nmi, tightest_codes

SHOWN_CODES = 12
SHOWN_WORDS = 14


def main(
    vectors: Annotated[Path, typer.Option(help="word vectors")],
    codes: Annotated[Path, typer.Option(help="codes learned from them")],
    source: Annotated[str, typer.Option(help="what the vectors are, for the caption")],
    table: Annotated[Path, typer.Option(help="output: every code and its words")],
    listing: Annotated[Path, typer.Option(help="output: the codes that show it best")],
    similarity: Annotated[Path, typer.Option(help="output: similarity by shared positions")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    words = WordVectors.load(vectors)
    learned = Codes.load(codes)
    groups = learned.groups()
    rows = pd.DataFrame(
        [(code, " ".join(words.words[i] for i in groups[code])) for code in sorted(groups)],
        columns=["code", "words"],
    )
    write_text(table, rows.to_csv(index=False))

    random = Codes.random(len(learned), learned.K, learned.D, seed=1)
    measured = _similarity(words, {"learned": learned, "random": random})
    write_text(similarity, measured.to_csv(index=False))
    write_text(listing, _listing(words, groups, learned, source))
    _script.log.info("%d words in %d of %d codes", len(learned), len(groups), learned.K**learned.D)


def _similarity(words: WordVectors, kinds: dict[str, Codes]) -> pd.DataFrame:
    classes = word_classes()
    known = [i for i, word in enumerate(words.words) if word in classes]
    names = sorted(set(classes.values()))
    labels = torch.tensor([names.index(classes[words.words[i]]) for i in known])
    rows = []
    for kind, codes in kinds.items():
        symbols = codes.tensor()
        cosines = cosine_by_shared_positions(words.vectors, symbols)
        rows += [
            {"codes": kind, "measure": "mean cosine", "shared_positions": s, "value": float(c)}
            for s, c in enumerate(cosines)
        ]
        if len(known) > len(words.words) / 2:
            _, whole = torch.unique(symbols, dim=0, return_inverse=True)
            value = nmi(labels, whole[torch.tensor(known)])
            rows.append({"codes": kind, "measure": "NMI with word classes", "value": value})
    table = pd.DataFrame(rows, columns=["codes", "measure", "shared_positions", "value"])
    return table.astype({"shared_positions": "Int64"})


def _listing(words: WordVectors, groups: dict, codes: Codes, source: str) -> str:
    tight = tightest_codes(words.vectors, groups)[:SHOWN_CODES]
    lines = [
        f"Table 2. Words that share a code: K = {codes.K}, D = {codes.D}, {len(words.words)} "
        f"words, {source}. The {len(tight)} tightest codes of 5 to 40 words, up to "
        f"{SHOWN_WORDS} words each, by falling frequency; `table2.csv` has all "
        f"{len(groups)} codes in use of {codes.K**codes.D}.",
        "",
        "| Code | Words |",
        "| --- | --- |",
    ]
    for code in sorted(tight):
        shown = [words.words[i].replace("|", "\\|") for i in groups[code][:SHOWN_WORDS]]
        more = len(groups[code]) - len(shown)
        lines.append(f"| {code} | {' '.join(shown)}{f' (+{more})' if more else ''} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    _script.run(main)
