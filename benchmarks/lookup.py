"""Time of a lookup in a `KDEmbedding` in eval mode, as a multiple of `torch.nn.Embedding`'s.

`python -m benchmarks.lookup` prints a row for each table and transform and a column for each number
of ids; the last three are shapes that `compress` chooses, and `stored` is what `compress_module`
puts in the place of a table, with books at 4 bits. All take turns; times are the least of many
turns, and of this thread's own work. Words are random, others at each lookup of a turn. Without
gradients, as in inference; `--gradients` is for those who look up in eval mode with them, `--onnx`
for graphs, which onnxruntime runs.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from kdcore import Codes
from kdcore.embeddings import EMBEDDINGS, Embedding, EmbeddingInputs
from kdcore.embeddings.table import TableEmbedding
from kdcore.files import write_text
from kdcore.formats import write_vectors
from kdcore.modules import CompressedEmbedding
from kdlab.provenance import environment, processor

# Words, size of a vector, K, D and groups.
SHAPES = (
    (400_000, 50, 64, 10, 1),
    (400_000, 50, 64, 10, 5),
    (400_000, 50, 64, 10, 10),
    (10_000, 200, 64, 10, 1),
    (10_000, 200, 64, 10, 5),
    (10_000, 200, 64, 10, 10),
    (400_000, 50, 128, 11, 1),
    (30_522, 384, 64, 96, 12),
    (30_522, 384, 128, 120, 30),
)
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


def in_place_of_a_table(codes: Codes, dim: int, transform: dict[str, object]) -> Embedding:
    """What `compress_module` makes, books at 4 bits."""
    settings = EMBEDDINGS.parse(
        {
            "kind": "rounded", "bits": 4, "scales": "column",
            "of": {"kind": "kd", "transform": transform, "packing": "code"},
        }
    )  # fmt: skip
    made = settings.module.build(settings, len(codes), dim, EmbeddingInputs(codes=codes))
    stored = settings.module.load(settings, len(codes), dim, made.export())
    return CompressedEmbedding(stored.eval(), torch.float32).eval()


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
    print(processor())
    print(f"  {'ids':64}" + "".join(f"{count:>16,}" for count in COUNTS))
    rows = []
    for N, dim, K, D, groups in SHAPES:
        name = "linear" if groups == 1 else f"product, {groups} groups"
        transform = {"kind": "linear"} if groups == 1 else {"kind": "product", "groups": groups}
        codes = Codes.random(N, K, D, 0)
        chosen = EMBEDDINGS.parse({"kind": "kd", "transform": transform})
        made = chosen.module.build(chosen, N, dim, EmbeddingInputs(codes=codes)).eval()
        full = made.materialise().requires_grad_(given.gradients)
        looked_up = {"kd": made, "stored": in_place_of_a_table(codes, dim, transform), "full": full}
        for embedding in looked_up.values():
            embedding(torch.arange(N))  # from now on, rows of the books are kept
        if given.onnx:
            looked_up["full"] = TableEmbedding(full.weight)
            looked_up = {name: graph(embedding) for name, embedding in looked_up.items()}
        cells: dict[str, list[str]] = {"kd": [], "stored": []}
        for count in COUNTS:
            batches = [torch.randint(N, (count,)) for _ in range(40 if count < 1000 else 10)]
            found = least(looked_up, batches)
            for what, shown in cells.items():
                rows.append(
                    {
                        "words": N, "dim": dim, "K": K, "D": D, "transform": name,
                        "embedding": what, "ids": count,
                        "times": round(found[what] / found["full"], 2),
                        "microseconds": round(found[what] * 1e6, 1),
                        "full_microseconds": round(found["full"] * 1e6, 1),
                        "gradients": given.gradients, "onnx": given.onnx,
                    }
                    | environment()
                )  # fmt: skip
                shown.append(f"{found[what] / found['full']:.1f} x {found['full'] * 1e6:.0f} µs")
        for what, shown in cells.items():
            title = f"{N:,} × {dim}, K = {K}, D = {D}, {name}, {what}"
            print(f"  {title:64}" + "".join(f"{cell:>16}" for cell in shown), flush=True)
    if given.out:
        write_text(given.out, pd.DataFrame(rows).to_csv(index=False))


if __name__ == "__main__":
    main()
