"""Settings of the clustering experiment."""

from pydantic import Field

from kdcore.kinds import Section


class ClusteringSettings(Section):
    """Figure 3 (a, b): codes as clusters of synthetic vectors, three arms."""

    nodes: int = Field(gt=0, description="vectors")
    clusters: int = Field(gt=0, description="well separated clusters")
    dim: int = Field(gt=0, description="size of a vector")
    spread: float = Field(gt=0, description="standard deviation in a cluster; centres have 1")
    K: int = Field(ge=2, description="values of the one index")
    epochs: int = Field(gt=0, description="passes over the vectors")
    every: int = Field(gt=0, description="epochs between two steps of the temperature's t")
    seeds: int = Field(gt=0, description="runs with seeds 1 … n, each with vectors of its own")
