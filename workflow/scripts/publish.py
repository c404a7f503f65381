"""Copy what was measured from runs/ to measurements/, which goes into git.

Tables and figures are drawn from there where runs/ has nothing: a machine that trained some models
can hand them to another, and a fresh clone shows what was measured. The codes that models were
trained on go with them.
"""

import shutil
from pathlib import Path
from typing import Annotated

import _script
import typer

from kdcore.files import atomic_path
from kdlab.addresses import PUBLISHED, Run, upstream
from kdlab.planning import Plan

# What is published of a run, by stage; the first file must be there, the others may be.
FILES = {
    "models": ("measurement.json", "curve.csv"),
    "retrained": ("measurement.json", "curve.csv"),
    "reconstructions": ("measurement.json",),
    "codes": ("codes.safetensors", "history.csv", "benchmark.tsv", "error.json"),
}


def main(
    config: Annotated[Path, typer.Option(help="preset file")] = Path("config/paper.yaml"),
) -> None:
    _script.start_log(None)
    plan = Plan.of(config)
    models = plan.experiment.models()
    measured = [run for run in models if publish(run)]
    _script.log.info("%d of %d models published from runs/", len(measured), len(models))
    for run in upstream(measured):
        if run.stage == "codes":
            publish(run)
    for name in plan.preset.reconstructions:
        for run in plan.experiment.reconstructions(name):
            publish(run)


def publish(run: Run) -> bool:
    """Copy a run's files; whether it has been computed here."""
    names = [name for name in FILES[run.stage] if Path(run.path(name)).is_file()]
    if FILES[run.stage][0] not in names:
        return False
    for name in names:
        with atomic_path(Path(PUBLISHED, run.address, name)) as temporary:
            shutil.copyfile(run.path(name), temporary)
    return True


if __name__ == "__main__":
    _script.run(main)
