"""Time of a lookup in a `KDEmbedding` in eval mode, as a multiple of `torch.nn.Embedding`'s.

`python -m benchmarks.lookup` prints a row for each table and transform and a column for each number
of ids. Both take turns; times are the least of many turns, and of this thread's own work. Words are
random, others at each lookup of a turn. Without gradients, as in inference; `--gradients` is for
those who look up in eval mode with them, `--onnx` for graphs of both, which onnxruntime runs.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from kdcore import Codes, KDEmbedding
from kdcore.embeddings import Embedding
from kdcore.embeddings.table import TableEmbedding
from kdcore.files import write_text
from kdcore.formats import write_vectors
from kdlab.provenance import environment, processor

TABLES = ((400_000, 50), (10_000, 200))
TRANSFORMS: dict[str, dict] = {
    "linear": {},
    "product, 5 groups": {"groups": 5},
    "product, 10 groups": {},
}
COUNTS = (1, 32, 1024, 8192)
TURNS = 300


def graph(embedding: Embedding) -> Callable[[torch.Tensor], object]:
    """Its lookup by onnxruntime, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        write_vectors(Path(folder) / "graph.onnx", None, embedding)
        session = onnxruntime.InferenceSession(Path(folder) / "graph.onnx", options)
    return lambda ids: session.run(None, {"ids": ids[None].numpy()})


def least(
    modules: dict[str, Callable[[torch.Tensor], object]], batches: list[torch.Tensor]
) -> dict[str, float]:
    """Seconds of one lookup, the least of all turns."""
    found = dict.fromkeys(modules, float("inf"))
    for _ in range(TURNS):
        for name, look_up in modules.items():
            begun = time.thread_time()
            for ids in batches:
                look_up(ids)
            found[name] = min(found[name], (time.thread_time() - begun) / len(batches))
    return found


def main() -> None:
    """Print the multiples, and the microseconds of the full table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gradients", action="store_true", help="look up with gradients")
    parser.add_argument("--onnx", action="store_true", help="look up in graphs of ONNX")
    parser.add_argument("--out", type=Path, help="where a row for each number of ids is written")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(given.gradients)
    print(f"K = 64, D = 10; {processor()}")
    print(f"  {'ids':38}" + "".join(f"{count:>16,}" for count in COUNTS))
    rows = []
    for N, dim in TABLES:
        for name, options in TRANSFORMS.items():
            embedding = KDEmbedding(Codes.random(N, 64, 10, 0), dim, name.split(",")[0], **options)
            embedding.eval()
            full = embedding.materialise().requires_grad_(given.gradients)
            embedding(torch.arange(N))  # from now on, rows of the books are kept
            looked_up = {"kd": embedding, "full": full}
            if given.onnx:
                looked_up = {"kd": graph(embedding), "full": graph(TableEmbedding(full.weight))}
            cells = []
            for count in COUNTS:
                batches = [torch.randint(N, (count,)) for _ in range(40 if count < 1000 else 10)]
                found = least(looked_up, batches)
                rows.append(
                    {
                        "words": N, "dim": dim, "transform": name, "ids": count,
                        "times": round(found["kd"] / found["full"], 2),
                        "microseconds": round(found["kd"] * 1e6, 1),
                        "full_microseconds": round(found["full"] * 1e6, 1),
                        "gradients": given.gradients, "onnx": given.onnx, "K": 64, "D": 10,
                    }
                    | environment()
                )  # fmt: skip
                cells.append(f"{found['kd'] / found['full']:.1f} x {found['full'] * 1e6:.0f} µs")
            print(
                f"  {f'{N:,} × {dim}, {name}':38}" + "".join(f"{c:>16}" for c in cells), flush=True
            )
    if given.out:
        write_text(given.out, pd.DataFrame(rows).to_csv(index=False))


if __name__ == "__main__":
    main()
