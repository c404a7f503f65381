"""Time of a lookup in a `KDEmbedding` in eval mode, as a multiple of `torch.nn.Embedding`'s.

`python -m benchmarks.lookup` prints a row for each table and transform and a column for each number
of ids. Both take turns; times are the least of many turns, and of this thread's own work. Words are
random, others at each lookup of a turn. Without gradients, as in inference; `--gradients` is for
those who look up in eval mode with them.
"""

import argparse
import time

import torch

from kdcore import Codes, KDEmbedding
from kdlab.provenance import processor

TABLES = ((400_000, 50), (10_000, 200))
TRANSFORMS: dict[str, dict] = {
    "linear": {},
    "product, 5 groups": {"groups": 5},
    "product, 10 groups": {},
}
COUNTS = (1, 32, 1024, 8192)
TURNS = 300


def least(modules: dict[str, torch.nn.Module], batches: list[torch.Tensor]) -> dict[str, float]:
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
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(given.gradients)
    print(f"K = 64, D = 10; {processor()}")
    print(f"  {'ids':38}" + "".join(f"{count:>16,}" for count in COUNTS))
    for N, dim in TABLES:
        for name, options in TRANSFORMS.items():
            embedding = KDEmbedding(Codes.random(N, 64, 10, 0), dim, name.split(",")[0], **options)
            embedding.eval()
            full = embedding.materialise().requires_grad_(given.gradients)
            embedding(torch.arange(N))  # from now on, rows of the books are kept
            cells = []
            for count in COUNTS:
                batches = [torch.randint(N, (count,)) for _ in range(40 if count < 1000 else 10)]
                found = least({"kd": embedding, "full": full}, batches)
                cells.append(f"{found['kd'] / found['full']:.1f} x {found['full'] * 1e6:.0f} µs")
            print(
                f"  {f'{N:,} × {dim}, {name}':38}" + "".join(f"{c:>16}" for c in cells), flush=True
            )


if __name__ == "__main__":
    main()
