"""The clustering experiment of Figure 3 (a, b): well separated Gaussian clusters."""

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import torch

from kdcore.learning import learn_codes
from kdlab.clustering_settings import ClusteringSettings
from kdlab.measures import nmi

# Version of what this file computes of a clustering; golden traces guard it.
NUMERICS = 1

# Section 3's three arms, as settings of code learning.
ARMS: dict[str, dict[str, Any]] = {
    "ste+schedule": {"estimator": "straight_through", "decay_rate": 1.0},
    "ste+constant": {"estimator": "straight_through", "decay_rate": 0.0},
    "soft+schedule": {"estimator": "soft", "decay_rate": 1.0},
}


@dataclass(frozen=True)
class Clusters:
    """Vectors (n, dim) and the cluster of each (n,)."""

    vectors: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class ClusteringRecord:
    """One point of a curve of Figure 3 (a, b).

    Attributes:
        iteration: minibatches seen.
        temperature: T.
        loss: mean ‖v − v̂‖² per vector, as the arm's forward pass sees it.
        nmi: agreement of argmax codes with the true clusters.
        changed: share of vectors whose code changed in the last epoch.
    """

    iteration: int
    temperature: float
    loss: float
    nmi: float
    changed: float


def make_clusters(nodes: int, clusters: int, dim: int, spread: float, seed: int) -> Clusters:
    """Centres drawn from N(0, I); nodes spread evenly over them, at N(centre, spread² I)."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(clusters, dim, generator=generator)
    labels = torch.arange(nodes) % clusters
    noise = torch.randn(nodes, dim, generator=generator)
    return Clusters(centres[labels] + spread * noise, labels)


def run_arm(
    arm: str, clusters: Clusters, K: int, epochs: int, every: int, seed: int
) -> list[ClusteringRecord]:
    """Learn codes with D = 1 by one arm; one record per epoch.

    Args:
        every: epochs between two steps of the temperature's t.
    """
    chosen = ARMS[arm]
    points: list[ClusteringRecord] = []
    learn_codes(
        clusters.vectors,
        K,
        1,
        seed=seed,
        epochs=epochs,
        estimator=chosen["estimator"],
        temperature={"decay_rate": chosen["decay_rate"], "every": every},
        report=lambda record, indices: points.append(
            ClusteringRecord(
                record.step,
                record.temperature,
                record.loss,
                nmi(clusters.labels, indices[:, 0]),
                record.changed,
            )
        ),
    )
    return points


def run_kmeans(clusters: Clusters, K: int, seed: int) -> tuple[float, float]:
    """Loss per vector and NMI of scikit-learn's k-means, the best of ten starts."""
    # Imported here: every start of Snakemake would wait for it.
    from sklearn.cluster import KMeans

    fitted = KMeans(K, n_init=10, random_state=seed).fit(clusters.vectors.numpy())
    labels = torch.from_numpy(fitted.labels_)
    return float(fitted.inertia_) / len(labels), nmi(clusters.labels, labels)


def clustering_table(settings: ClusteringSettings, seed: int) -> pd.DataFrame:
    """Curves of all arms, and k-means, for the vectors of one seed; a row per epoch."""
    clusters = make_clusters(settings.nodes, settings.clusters, settings.dim, settings.spread, seed)
    rows: list[dict[str, Any]] = []
    for arm in ARMS:
        curve = run_arm(arm, clusters, settings.K, settings.epochs, settings.every, seed)
        rows += [{"arm": arm, "seed": seed, **asdict(point)} for point in curve]
    loss, agreement = run_kmeans(clusters, settings.K, seed)
    rows.append({"arm": "k-means", "seed": seed, "loss": loss, "nmi": agreement})
    columns = ["arm", "seed", "iteration", "temperature", "loss", "nmi", "changed"]
    return pd.DataFrame(rows, columns=columns).astype({"iteration": "Int64"})
