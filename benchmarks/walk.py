"""The six commands of `kdcore` on a table of words, with what they print, take and need.

`python -m benchmarks.walk TABLE --out OUT.md` runs them one after another, as a reader would type
them, and writes a page's worth of Markdown: command, output, seconds of processor time, memory. The
last words of the table are left out of `vectors.txt` and join later, from `more.vec`.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from kdcore.embeddings.table import TableEmbedding
from kdcore.files import short_hash, write_text
from kdcore.formats import read_vectors, write_vectors
from kdlab.provenance import commit, processor

LATER = 1_000
COMMANDS = (
    "compress vectors.txt --ratio {ratio} --out vectors.kd",
    "info vectors.kd",
    "evaluate vectors.kd --against vectors.txt",
    "neighbours vectors.kd {word}",
    "encode vectors.kd more.vec --out larger.kd",
    "export vectors.kd --to small.vec",
)


def run(words: list[str], folder: Path) -> tuple[str, float, float]:
    """What a command prints, its seconds of processor time, and its largest memory in MB."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "kdcore", *words], cwd=folder, stdout=output,
            env=os.environ | {"PYTHONPATH": os.getcwd()},
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        output.seek(0)
        text = output.read().decode()
    if status != 0:
        sys.exit(f"error: kdcore {shlex.join(words)} ended with status {status}")
    return text.rstrip(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def once(lines: list[str], seen: set[str]) -> list[str]:
    """Lines with a "…" for those that another command has printed."""
    found: list[str] = []
    for line in lines:
        if line and line in seen:
            found += [] if found[-1:] == ["…"] else ["…"]
        else:
            found.append(line)
    seen.update(lines)
    return found


def main() -> None:
    """Run them and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("table", help="as `kdcore compress` takes it")
    parser.add_argument("--words", help="a text file of one word a line, for rows without words")
    parser.add_argument("--ratio", type=float, default=20)
    parser.add_argument("--word", default="paris", help="whose neighbours are shown")
    parser.add_argument("--out", type=Path, required=True, help="the page, .md")
    arguments = parser.parse_args()
    found = read_vectors(arguments.table, arguments.words)
    names, vectors = found.words, found.vectors.float()
    digest = short_hash(vectors.numpy().tobytes())
    with tempfile.TemporaryDirectory() as name:
        folder, lines = Path(name), []
        seen: set[str] = set()
        for file, part in (("vectors.txt", slice(-LATER)), ("more.vec", slice(-LATER, None))):
            some = None if names is None else names[part]
            write_vectors(folder / file, some, TableEmbedding(vectors[part]))
        for command in COMMANDS:
            command = command.format(ratio=f"{arguments.ratio:g}", word=arguments.word)
            text, seconds, memory = run(shlex.split(command), folder)
            print(f"$ kdcore {command}\n{text}\n{seconds:.1f} s, {memory:.0f} MB", flush=True)
            lines += [
                "```console", f"$ kdcore {command}", *once(text.splitlines(), seen), "```", "",
                f"*{seconds:.0f} s of processor time, {memory:,.0f} MB of memory.*", "",
            ]  # fmt: skip
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    lines += [
        f"Table `{digest}`, {processor()}, threads: {threads}, commit {commit()}."
    ]  # fmt: skip
    write_text(arguments.out, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
