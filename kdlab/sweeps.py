"""Sweeps: one method's perplexity with one setting after another varied."""

import pandas as pd

from kdlab.experiment import Experiment
from kdlab.measurements import of_runs
from kdlab.preset import Sweep


def columns_of(sweep: Sweep) -> dict[str, str]:
    """What a varied setting's column is called: the last part of its name, where that is enough.

    Example:
        >>> columns_of(Sweep(model="small", method="linear", vary={"codes.K": [2], "codes.D": [1]}))
        {'codes.K': 'K', 'codes.D': 'D'}
    """
    last = {path: path.rpartition(".")[2] for path in sweep.vary}
    names = list(last.values())
    return {path: name if names.count(name) == 1 else path for path, name in last.items()}


def build(experiment: Experiment, name: str, measured: pd.DataFrame) -> pd.DataFrame:
    """Test perplexity by what is varied; what was not run is absent.

    Returns:
        `swept` (the varied setting), a column for each varied setting, `method`, `seed` and
        `test_ppl`, by rising value of what is varied.
    """
    sweep = experiment.preset.sweeps[name]
    called = columns_of(sweep)
    points = experiment.sweep(name)
    order = {path: place for place, path in enumerate(called)}
    points = sorted(points, key=lambda p: (order[p.swept], p.values[p.swept], p.seed))
    rows = []
    for point in points:
        here = of_runs(measured, [point.run])
        if len(here):
            values = {called[path]: value for path, value in point.values.items()}
            rows.append(
                {
                    "swept": called[point.swept], **values, "method": sweep.method,
                    "seed": point.seed, "test_ppl": here["test_ppl"].iloc[0],
                }
            )  # fmt: skip
    columns = ["swept", *called.values(), "method", "seed", "test_ppl"]
    return pd.DataFrame(rows, columns=columns)
