"""`kdcore compress` on large tables: time, memory and error.

`python -m benchmarks.scale 1000000x300 400000x50 --out scale.csv` generates a table of each size
and compresses it as a reader would from the command line, in as many threads as `OMP_NUM_THREADS`
says. Vectors lie around 2,000 centres, in as much noise, with variances that fall as k^-0.7: close
to what word vectors have. Processor time is that of all threads.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from kdcore import CompressedVectors
from kdcore.files import write_text
from kdlab.provenance import environment

CENTRES, BLOCK = 2_000, 50_000


def generate(path: Path, N: int, d: int) -> None:
    """Write a table of N vectors of d numbers, float32."""
    random = np.random.default_rng(0)
    scale = np.arange(1, d + 1, dtype=np.float32) ** -0.35
    centres = random.standard_normal((CENTRES, d), dtype=np.float32) * scale
    table = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(N, d))
    for first in range(0, N, BLOCK):
        count = min(BLOCK, N - first)
        noise = random.standard_normal((count, d), dtype=np.float32) * scale
        table[first : first + count] = centres[random.integers(CENTRES, size=count)] + noise
    table.flush()


def measure(N: int, d: int, ratio: float) -> dict[str, object]:
    """A row of the table of times."""
    with tempfile.TemporaryDirectory() as name:
        table, out = Path(name) / "table.npy", Path(name) / "table.kd"
        generate(table, N, d)
        words = ["compress", str(table), "--ratio", f"{ratio:g}", "--out", str(out)]
        begun = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "kdcore", *words])
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
        if status != 0:
            sys.exit(f"error: kdcore compress ended with status {status}")
        how = CompressedVectors.load(out).how
        return {
            "words": N, "dim": d, "asked_ratio": ratio, "ratio": round(how["ratio"], 2),
            "form": how["chosen"].partition(":")[0], "error": round(how["error"], 4),
            "seconds": round(seconds),
            "processor_seconds": round(usage.ru_utime + usage.ru_stime),
            "megabytes": round(usage.ru_maxrss / 1000),
            "threads": os.environ.get("OMP_NUM_THREADS", os.cpu_count()),
        } | environment()  # fmt: skip


def main() -> None:
    """Print a row for each size, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sizes", nargs="+", help="words and numbers, for example 400000x50")
    parser.add_argument("--ratio", type=float, default=20)
    parser.add_argument("--out", type=Path, help="where the rows are written, .csv")
    arguments = parser.parse_args()
    rows = []
    for size in arguments.sizes:
        if not (found := re.fullmatch(r"(\d+)x(\d+)", size)):
            parser.error(f"a size must be like 400000x50, got {size!r}")
        rows.append(measure(int(found[1]), int(found[2]), arguments.ratio))
        print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    if arguments.out:
        write_text(arguments.out, pd.DataFrame(rows).to_csv(index=False))


if __name__ == "__main__":
    main()
