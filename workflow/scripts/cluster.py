"""Run the synthetic clustering experiment for one seed (Figure 3 a, b)."""

from pathlib import Path
from typing import Annotated

import _script
import pandas as pd
import torch
import typer

from kdcore.files import write_text
from kdlab.clustering_settings import ClusteringSettings
from kdlab.synthetic import ARMS, make_clusters, run_arm, run_kmeans


def main(
    settings: Annotated[str, typer.Option(help="figure3.clustering of a preset, JSON")],
    seed: Annotated[int, typer.Option(help="random seed of vectors and learning")],
    points: Annotated[Path, typer.Option(help="output: curves of the arms, and k-means")],
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    torch.set_num_threads(threads)
    chosen = _script.parse(ClusteringSettings, settings)
    clusters = make_clusters(chosen.nodes, chosen.clusters, chosen.dim, chosen.spread, seed)
    rows = []
    for arm in ARMS:
        curve = run_arm(arm, clusters, chosen.K, chosen.epochs, chosen.every, seed)
        rows += [{"arm": arm, "seed": seed, **vars(point)} for point in curve]
        _script.log.info(
            "%s, seed %d: loss %.3f, NMI %.3f", arm, seed, curve[-1].loss, curve[-1].nmi
        )
    loss, agreement = run_kmeans(clusters, chosen.K, seed)
    _script.log.info("k-means, seed %d: loss %.3f, NMI %.3f", seed, loss, agreement)
    rows.append({"arm": "k-means", "seed": seed, "loss": loss, "nmi": agreement})
    columns = ["arm", "seed", "iteration", "temperature", "loss", "nmi", "changed"]
    table = pd.DataFrame(rows, columns=columns).astype({"iteration": "Int64"})
    write_text(points, table.to_csv(index=False))


if __name__ == "__main__":
    _script.run(main)
