"""What Table 1 costs: the jobs of one seed in time, the critical path, hours for ten seeds.

Code learning, which takes minutes, is in it where its benchmark is at hand. What was measured on
a CPU and on a GPU counts by the faster of the two.
"""

from pathlib import Path
from typing import Annotated

import _script
import matplotlib.pyplot as plt
import pandas as pd
import typer
from _figure import BLUE, GREY, ORANGE, not_run, save
from table1 import label

from kdcore.files import read_json, write_text
from kdlab.preset import CodeLearners, Preset, load_preset

SEEDS = 10


def main(
    measurements: Annotated[Path, typer.Option(help="table of all trained models")],
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    table: Annotated[Path, typer.Option(help="output: jobs, seconds, begin, end and device")],
    total: Annotated[Path, typer.Option(help="output: hours by size, for one and for ten seeds")],
    png: Annotated[Path, typer.Option(help="output: for the screen")],
    pdf: Annotated[Path, typer.Option(help="output: for print")],
    benchmarks: Annotated[
        list[Path] | None, typer.Argument(help="Snakemake's benchmarks of code learning")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    preset = load_preset(read_json(settings))
    measured = pd.read_csv(measurements)
    learning = {
        (size, learner): _learning_seconds(benchmarks or [], size, learner)
        for size in preset.table1.sizes
        for learner in CodeLearners.model_fields
    }
    for size, learner in (key for key, time in learning.items() if not time):
        _script.log.info("%s model: learning of %s codes was not timed here", size, learner)
    frames = {size: jobs(preset, measured, learning, size) for size in preset.table1.sizes}
    write_text(table, pd.concat(frames.values()).to_csv(index=False))
    rows = [row for size, frame in frames.items() for row in totals(preset, frame, size)]
    write_text(total, pd.DataFrame(rows).to_csv(index=False))
    height = max(2.7, 1.1 + 0.17 * max(len(frame) for frame in frames.values()))
    figure, axes = plt.subplots(1, len(frames), figsize=(3.9 * len(frames), height), squeeze=False)
    for panel, (size, frame) in zip(axes[0], frames.items(), strict=True):
        _draw(panel, size, frame)
    save(figure, png, pdf)


def _learning_seconds(benchmarks: list[Path], size: str, learner: str) -> float:
    times = [pd.read_csv(p, sep="\t")["s"].mean() for p in benchmarks if
             f"/{size}/{learner}/" in p.as_posix()]  # fmt: skip
    return float(pd.Series(times, dtype=float).mean()) if times else 0.0


def jobs(preset: Preset, measured: pd.DataFrame, learning: dict, size: str) -> pd.DataFrame:
    """The jobs of one seed with mean times, each begun as soon as what it needs is there."""
    here = measured[measured["size"] == size]
    of_table1 = (here["K"] == preset.table1.K) & (here["D"] == preset.table1.D)
    here = here[here["K"].isna() | of_table1]
    on = here["device"].mask(here["device"] != "cpu", "gpu")
    means = here.groupby(["codes", "transform", on])["wall_seconds"].mean().sort_values()
    fastest = means.reset_index().drop_duplicates(["codes", "transform"])
    seconds = {(r.codes, r.transform): (r.wall_seconds, r.device) for r in fastest.itertuples()}
    rows, ends = [], {}

    def add(name: str, after: str | None, time: float, device: str = "cpu") -> None:
        begin = ends.get(after, 0.0)
        ends[name] = begin + time
        rows.append((size, name, after or "", *(round(t, 1) for t in (time, begin, ends[name])),
                     device))  # fmt: skip

    base = label("none", "none")
    if ("none", "none") in seconds:
        add(base, None, *seconds["none", "none"])
        for learner in CodeLearners.model_fields:
            if time := learning[size, learner]:
                add(f"{learner} codes", base, time)
    for row in preset.table1.rows_of(size):
        if row.codes != "none" and (row.codes, row.transform) in seconds:
            fitted = preset.kd_embedding.of(size, row.transform).fit is not None
            learned = f"{row.codes} codes"
            after = base if base in ends and (fitted or row.codes != "random") else None
            after = learned if learned in ends else after
            add(label(row.codes, row.transform), after, *seconds[row.codes, row.transform])
    columns = ["size", "job", "after", "seconds", "begin", "end", "device"]
    return pd.DataFrame(rows, columns=columns)


def totals(preset: Preset, frame: pd.DataFrame, size: str) -> list[dict]:
    """What the jobs of one size add up to, for one seed and for ten.

    `width` is how many run at once when each begins as soon as it can; no number of machines beyond
    it helps, and none makes the whole shorter than `critical_path_hours`. Rows of Table 1 that
    nobody has measured are counted in `rows_not_run` and in nothing else.
    """
    hours = frame.groupby("device")["seconds"].sum() / 3600
    running = [((frame["begin"] <= t) & (t < frame["end"])).sum() for t in frame["begin"]]
    names = {label(row.codes, row.transform) for row in preset.table1.rows_of(size)}
    return [
        {
            "size": size,
            "seeds": seeds,
            "cpu_hours": round(seeds * hours.get("cpu", 0.0), 2),
            "gpu_hours": round(seeds * hours.get("gpu", 0.0), 2),
            "width": seeds * max(running, default=0),
            "critical_path_hours": round(frame["end"].max() / 3600, 2) if len(frame) else None,
            "rows_not_run": len(names - set(frame["job"])),
        }
        for seeds in (1, SEEDS)
    ]


def _draw(panel, size: str, frame: pd.DataFrame) -> None:
    panel.set_title(f"{size} model", loc="left")
    if not len(frame):
        not_run(panel)
        return
    path, name = set(), frame.loc[frame["end"].idxmax(), "job"]
    while name:
        path.add(name)
        name = frame.loc[frame["job"] == name, "after"].item()
    unit, text = (3600, "hours") if frame["end"].max() > 7200 else (60, "minutes")
    for place, row in frame.reset_index().iterrows():
        critical = row["job"] in path
        panel.barh(
            place, row["seconds"] / unit, left=row["begin"] / unit, height=0.7,
            color=ORANGE if critical else BLUE,
        )  # fmt: skip
    panel.set_yticks(range(len(frame)), frame["job"])
    panel.invert_yaxis()
    panel.grid(axis="y", visible=False)
    hours = SEEDS * frame.groupby("device")["seconds"].sum() / 3600
    sums = " and ".join(f"{hours[name]:.1f} hours of {name.upper()}" for name in hours.index)
    panel.set_xlabel(
        f"{text}, one machine a job;\n"
        f"critical path (orange): {frame['end'].max() / unit:.1f} {text};\n"
        f"{SEEDS} seeds: {sums}",
        color=GREY,
    )


if __name__ == "__main__":
    _script.run(main)
