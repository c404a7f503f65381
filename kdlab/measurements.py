"""What trained models measured, as one tidy table."""

import logging
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from kdcore.errors import KDError
from kdcore.files import read_json
from kdlab.addresses import Run
from kdlab.experiment import Experiment

log = logging.getLogger("kd")

COLUMNS = [
    "address", "model", "method", "label", "K", "D", "seed", "test_ppl", "valid_ppl", "train_ppl",
    "epochs", "embedding_params", "bits", "rate", "rate_with_codes", "model_params",
    "unique_codes", "code_entropy", "wall_seconds", "tokens_per_second", "device", "precision",
    "threads", "processor", "blas", "python", "torch", "commit", "data_hash", "codes_hash",
]  # fmt: skip
# Columns of whole numbers that may be empty.
WHOLE = (
    "K", "D", "epochs", "embedding_params", "bits", "model_params", "unique_codes", "threads",
)  # fmt: skip


def read_measurements(
    experiment: Experiment, paths: Iterable[Path], wanted: Iterable[Run] | None = None
) -> pd.DataFrame:
    """One row for each trained model, in the order of the runs.

    A measurement belongs to the run whose address it carries. One whose address is none of them is
    left out, with a warning.

    Args:
        paths: measurement.json files.
        wanted: runs; by default all of the experiment's tables and sweeps.

    Returns:
        A table with `COLUMNS`; model, method, label and seed are called as the preset calls them.

    Raises:
        KDError: a file is missing or is no measurement.
    """
    chosen = experiment.models() if wanted is None else wanted
    runs = {run.address: run for run in chosen}
    found: dict[str, dict] = {}
    for path in paths:
        values = read_json(path)
        if "valid_ppl" not in values:
            raise KDError(f"{path}: must be a measurement, with valid_ppl")
        address = values.get("address")
        if address not in runs:
            log.warning("left out: %s (address %s is no run of %s)", path, address, experiment.name)
        elif address in found:
            log.warning("left out: %s (a second measurement of %s)", path, runs[address].title)
        else:
            found[address] = {**values, "address": address, **_names(experiment, runs[address])}
    rows = [found[address] for address in runs if address in found]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.astype({name: "Int64" for name in WHOLE})


def _names(experiment: Experiment, run: Run) -> dict:
    return {**run.names, "label": experiment.preset.methods[run.names["method"]].label}


def of_runs(measured: pd.DataFrame, runs: Iterable[Run]) -> pd.DataFrame:
    """The rows of some runs, in their order; runs that were not measured are absent."""
    place = dict(zip(measured["address"], measured.index, strict=True))
    return measured.loc[[place[run.address] for run in runs if run.address in place]]
