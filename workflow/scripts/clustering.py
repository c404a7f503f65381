"""Run the synthetic clustering experiment for one seed (Figure 3 a, b)."""

from pathlib import Path
from typing import Annotated

import _script
import torch
import typer

from kdcore.files import write_text
from kdlab.clustering import clustering_table
from kdlab.clustering_settings import ClusteringSettings


def main(
    settings: Annotated[str, typer.Option(help="clustering of a preset with a seed, JSON")],
    points: Annotated[Path, typer.Option(help="output: curves of the arms, and k-means")],
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    torch.set_num_threads(threads)
    values = _script.as_json(settings)
    seed = values.pop("seed")
    chosen = _script.parse(ClusteringSettings, values, "clustering")
    table = clustering_table(chosen, seed)
    for arm, curve in table.groupby("arm", sort=False):
        last = curve.iloc[-1]
        _script.log.info("%s, seed %d: loss %.3f, NMI %.3f", arm, seed, last["loss"], last["nmi"])
    write_text(points, table.to_csv(index=False))


if __name__ == "__main__":
    _script.run(main)
