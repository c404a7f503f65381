"""What a table costs: the jobs of one seed in time, the critical path, hours for ten seeds."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kdlab.addresses import Run
from kdlab.experiment import Experiment

SEEDS = 10
COLUMNS = ["model", "job", "after", "seconds", "begin", "end", "device"]


@dataclass(frozen=True)
class Job:
    """A job in time, in seconds; `after` is the one that it waited for."""

    model: str
    job: str
    after: str
    seconds: float
    begin: float
    end: float
    device: str


def jobs(
    experiment: Experiment,
    table: str,
    model: str,
    measured: pd.DataFrame,
    learning: Mapping[str, float],
) -> pd.DataFrame:
    """The jobs of one seed with mean times, each begun as soon as what it needs is there.

    What was measured on a CPU and on a GPU counts by the faster of the two. Jobs whose time is not
    known take none.

    Args:
        table: its rows' models, and all that they start from, are the jobs.
        measured: as `read_measurements` gives it.
        learning: seconds that codes took to learn, by address.

    Returns:
        A table with `COLUMNS`; `after` is the job that a job waited for.
    """
    schedule = _Schedule(experiment, model, measured, learning)
    rows = [experiment.row(model, row) for row in experiment.preset.tables[table].rows_of(model)]
    for runs in rows:
        for run in runs:
            schedule.note(runs[0], run)
    for runs in rows:
        schedule.add(runs[0])
    frame = pd.DataFrame([vars(job) for job in schedule.jobs], columns=COLUMNS)
    return frame.round({"seconds": 1, "begin": 1, "end": 1})


class _Schedule:
    """Jobs of seed 1; the same jobs of other seeds give mean times."""

    def __init__(
        self,
        experiment: Experiment,
        model: str,
        measured: pd.DataFrame,
        learning: Mapping[str, float],
    ):
        self.methods, self.model = experiment.preset.methods, model
        self.measured, self.learning = measured.set_index("address"), learning
        self.seeds: dict[str, list[str]] = {}
        self.last: dict[str, Job | None] = {}
        self.jobs: list[Job] = []

    def note(self, first: Run, run: Run) -> None:
        """Take down that `run` is with another seed what `first` is with seed 1."""
        seeds = self.seeds.setdefault(first.address, [])
        if run.address not in seeds:
            seeds.append(run.address)
        for role, needed in first.inputs.items():
            self.note(needed, run.inputs[role])

    def add(self, run: Run) -> Job | None:
        """Add a job after all that it starts from; the last job that is then to be waited for."""
        if run.address not in self.last:
            before = [self.add(needed) for needed in run.inputs.values()]
            after = max((job for job in before if job), key=lambda job: job.end, default=None)
            self.last[run.address] = self._job(run, after) or after
        return self.last[run.address]

    def _job(self, run: Run, after: Job | None) -> Job | None:
        found = self._time(run)
        if found is None:
            return None
        seconds, device = found
        begin = after.end if after else 0.0
        waited = after.job if after else ""
        job = Job(self.model, self._name(run), waited, seconds, begin, begin + seconds, device)
        self.jobs.append(job)
        return job

    def _name(self, run: Run) -> str:
        """What the job is called, and of which model where it is another; each name stands once."""
        names: Mapping[str, Any] = run.names
        if run.stage == "codes":
            name = f"{names['codes']} codes"
            vectors = run.inputs.get("vectors")
            source = vectors.inputs.get("model") if vectors else None
            model = source.names["model"] if source else self.model
        else:
            name, model = self.methods[names["method"]].label, names["model"]
        name = name if model == self.model else f"{name}, {model} model"
        taken = {job.job for job in self.jobs}
        others = (f"{name} ({number})" for number in itertools.count(2))
        return next(one for one in itertools.chain([name], others) if one not in taken)

    def _time(self, run: Run) -> tuple[float, str] | None:
        seeds = self.seeds[run.address]
        if run.stage == "codes":
            times = [self.learning[address] for address in seeds if address in self.learning]
            return (sum(times) / len(times), "cpu") if times else None
        here = self.measured[self.measured.index.isin(seeds)]
        if not len(here):
            return None
        on = here["device"].mask(here["device"] != "cpu", "gpu")
        fastest = here.groupby(on)["wall_seconds"].mean().sort_values()
        return float(fastest.iloc[0]), str(fastest.index[0])


def totals(experiment: Experiment, table: str, model: str, frame: pd.DataFrame) -> list[dict]:
    """What the jobs of one language model add up to, for one seed and for ten.

    `width` is how many run at once when each begins as soon as it can; no number of machines beyond
    it helps, and none makes the whole shorter than `critical_path_hours`. Rows of the table that
    nobody has measured are counted in `rows_not_run` and in nothing else.
    """
    hours = frame.groupby("device")["seconds"].sum() / 3600
    running = [int(((frame["begin"] <= t) & (t < frame["end"])).sum()) for t in frame["begin"]]
    methods = experiment.preset.methods
    rows = experiment.preset.tables[table].rows_of(model)
    names = {methods[row.method].label for row in rows}
    return [
        {
            "model": model,
            "seeds": seeds,
            "cpu_hours": round(seeds * float(hours.get("cpu", 0.0)), 2),
            "gpu_hours": round(seeds * float(hours.get("gpu", 0.0)), 2),
            "width": seeds * max(running, default=0),
            "critical_path_hours": round(frame["end"].max() / 3600, 2) if len(frame) else None,
            "rows_not_run": len(names - set(frame["job"])),
        }
        for seeds in (1, SEEDS)
    ]


def critical_path(frame: pd.DataFrame) -> set[str]:
    """The jobs that the whole cannot be shorter than."""
    path: set[str] = set()
    name = frame.loc[frame["end"].idxmax(), "job"] if len(frame) else ""
    while name:
        path.add(str(name))
        name = frame.loc[frame["job"] == name, "after"].item()
    return path
