"""Word vectors in a given size, without a language model: what every form loses at equal bits."""

import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from kdcore.compressed import compress
from kdcore.compressing import TargetError
from kdcore.evaluation import evaluate
from kdcore.files import read_json
from kdcore.vectors import WordVectors
from kdlab.experiment import Experiment
from kdlab.provenance import environment

# Words whose neighbours are compared.
QUERIES = 1000
COLUMNS = [
    "table", "form", "asked_ratio", "ratio", "bits_per_word", "error", "cosine", "worst_cosine",
    "overlap", "chosen", "wall_seconds", "seed", "address", "commit", "processor", "data_hash",
]  # fmt: skip
# Where pairs of words are compared, too.
SIMILARITY = ["similarity_before", "similarity", "pairs"]


def measure(
    vectors: WordVectors, form: str, ratio: float, seed: int, pairs: Path | None = None
) -> dict[str, Any]:
    """Compress a table to one form and compare it with what it was made from.

    Args:
        pairs: file of pairs of words, as `kdcore.evaluation.read_pairs` reads it.

    Returns:
        `ratio` and `bits_per_word` of what is stored; `error`, `cosine`, `worst_cosine` and
        `overlap` as in `kdcore.evaluation.Quality`, the cosine being the one that a word in a
        hundred is below; `chosen`, in words; `seconds` by the clock, whatever else the machine
        was doing; with pairs, their rank correlation by the table (`similarity_before`) and
        compressed (`similarity`), and of how many `pairs` both words are there. Without any of
        them but `chosen`, where the form has no size so small.
    """
    begun = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # words that share a vector: it is counted
            made = compress(vectors, ratio=ratio, forms=[form], seed=seed)
    except TargetError as error:
        return {"chosen": f"none: {error}", **environment()}
    seconds = time.monotonic() - begun
    files = [] if pairs is None else [pairs]
    found = evaluate(made, vectors, similarity=files, queries=QUERIES, seed=seed)
    similar = {}
    for s in found.similarity:
        similar = {"similarity_before": s.before, "similarity": s.after, "pairs": s.pairs}
    return {
        "ratio": found.ratio,
        "bits_per_word": found.bits_per_word,
        "error": found.all.error,
        "cosine": found.all.cosine,
        "worst_cosine": found.all.worst,
        "overlap": found.all.overlap,
        **similar,
        "chosen": made.how["chosen"].partition(":")[0],
        "seconds": round(seconds, 1),
        **environment(),
    }


def table(experiment: Experiment, paths: Iterable[Path]) -> pd.DataFrame:
    """A row for each table, ratio and form, in the preset's order; empty where nothing was run.

    Args:
        paths: measurement.json files, in folders called as their runs' addresses.

    Returns:
        A table with `COLUMNS`, and `SIMILARITY` where the preset names pairs of words.
    """
    files = {path.parent.name: path for path in paths}
    rows = [
        {
            **run.names,
            **(read_json(files[run.address]) if run.address in files else {}),
            "seed": run.settings["seed"],
            "address": run.address,
        }
        for name in experiment.preset.reconstructions
        for run in experiment.reconstructions(name)
    ]
    compared = any(table.similarity for table in experiment.preset.reconstructions.values())
    found = pd.DataFrame(rows).rename(columns={"seconds": "wall_seconds"})
    return found.reindex(columns=[*COLUMNS, *(SIMILARITY if compared else ())])
