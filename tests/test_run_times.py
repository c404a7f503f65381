"""What Table 1 costs, from times written by hand."""

from pathlib import Path

import pandas as pd
import pytest

from kdlab.preset import read_preset

ROOT = Path(__file__).parent.parent


@pytest.fixture
def run_times(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "workflow/scripts"))
    import run_times

    return run_times


@pytest.fixture
def preset():
    return read_preset(ROOT / "config/paper.yaml")


def measured(*rows: tuple) -> pd.DataFrame:
    names = ["codes", "transform", "seed", "device", "wall_seconds"]
    frame = pd.DataFrame(rows, columns=names).assign(size="small")
    coded = frame["codes"] != "none"
    return frame.assign(K=pd.Series(50, frame.index).where(coded), D=pd.Series(10).where(coded))


def measure(run_times, preset, *rows: tuple) -> tuple[pd.DataFrame, list[dict]]:
    learning = {("small", "linear"): 360.0, ("small", "lstm"): 0.0, ("small", "refined"): 0.0}
    frame = measured(*rows)
    frame["D"] = frame["K"] / 5
    jobs = run_times.jobs(preset, frame, learning, "small")
    return jobs, run_times.totals(preset, jobs, "small")


def test_hours_width_and_critical_path_by_device(run_times, preset):
    jobs, (one, ten) = measure(
        run_times, preset,
        ("none", "none", 1, "cpu", 3600.0),
        ("none", "none", 2, "cpu", 7200.0),
        ("random", "linear", 1, "cpu", 3600.0),
        ("linear", "linear", 1, "NVIDIA H100", 1800.0),
        ("linear", "linear", 2, "cpu", 36000.0),
    )  # fmt: skip
    assert dict(zip(jobs["job"], jobs["device"], strict=True)) == {
        "Conventional": "cpu", "linear codes": "cpu", "Random + Linear": "cpu",
        "Linear + Linear": "gpu",
    }  # fmt: skip
    # 1.5 h, then codes for 0.1 h, then half an hour on the GPU; an hour beside them.
    assert one == {
        "size": "small", "seeds": 1, "cpu_hours": 2.6, "gpu_hours": 0.5, "width": 2,
        "critical_path_hours": 2.1, "rows_not_run": len(preset.table1.rows_of("small")) - 3,
    }  # fmt: skip
    assert ten == {**one, "seeds": 10, "cpu_hours": 26.0, "gpu_hours": 5.0, "width": 20}


def test_nothing_run_is_no_number(run_times, preset):
    _, (one, _) = measure(run_times, preset)
    assert one == {
        "size": "small", "seeds": 1, "cpu_hours": 0.0, "gpu_hours": 0.0, "width": 0,
        "critical_path_hours": None, "rows_not_run": len(preset.table1.rows_of("small")),
    }  # fmt: skip
