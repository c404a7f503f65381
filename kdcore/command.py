"""The command `kdcore`: tables of vectors compressed, looked at, measured, searched, written.

What is slow to import is imported by the part that needs it.
"""

import argparse
import io
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kdcore.durations import duration

if TYPE_CHECKING:
    from kdcore.compressed import CompressedVectors, Info

USAGE, FAILED, INTERRUPTED = 2, 1, 130
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
# Seconds between two lines of progress where they cannot be written over.
PAUSE = 10.0

EXAMPLES = """\
examples:
  kdcore compress vectors.txt --ratio 20 --out vectors.kd
  kdcore compress model.pt:encoder.embed.weight --size 10MB --out words.kd
  kdcore info vectors.kd
  kdcore evaluate vectors.kd --against vectors.txt --html page.html
  kdcore neighbours vectors.kd paris
  kdcore encode vectors.kd more.vec --out larger.kd
  kdcore export vectors.kd --to vectors.vec
"""
TABLE = (
    "text of word2vec, GloVe or fastText (also .gz, .zip), .bin of word2vec or fastText, .npy, "
    ".npz, safetensors, a checkpoint of PyTorch, gensim's KeyedVectors or a .kd file; with :name "
    "behind it where there are several tables in it"
)


class Parser(argparse.ArgumentParser):
    """One line for what is wrong."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(USAGE)


def above_zero(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return number


def whole(text: str) -> int:
    """An integer above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer above 0, got {text!r}")
    return int(text)


def byte_size(text: str) -> float:
    """Bytes: a number and, if it is not of bytes, kB, MB, GB, KiB, MiB or GiB."""
    match = re.fullmatch(r"([\d.]+) *([kmg]i?)?b?", text.lower())
    try:
        size = float(match[1]) * UNITS[match[2] or ""] if match else 0.0
    except ValueError:
        size = 0.0
    if size <= 0:
        raise argparse.ArgumentTypeError(f"must be a size such as 10MB or 300kB, got {text!r}")
    return size


def parser() -> argparse.ArgumentParser:
    """All parts of the command."""
    made = Parser(
        prog="kdcore", description="Tables of word vectors in a fraction of their size.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    made.add_argument("--version", action="store_true", help="print the version and end")
    parts = made.add_subparsers(metavar="COMMAND", parser_class=Parser)

    def part(name: str, does: Callable[[argparse.Namespace], None], text: str) -> Parser:
        added = parts.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.set_defaults(does=does)
        return added

    p = part("compress", compress, "compress a table of vectors")
    p.add_argument("table", help=TABLE)
    target = p.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--ratio", type=above_zero, metavar="R", help="times smaller than in float32"
    )
    target.add_argument(
        "--bits-per-word", type=above_zero, metavar="B", help="stored bits over words"
    )
    target.add_argument("--size", type=byte_size, metavar="SIZE", help="for example 10MB")
    target.add_argument(
        "--max-error", type=above_zero, metavar="E", help="share of the variance that may be lost"
    )
    p.add_argument("--out", required=True, metavar="FILE.kd", help="the file to write")
    p.add_argument("--words", metavar="FILE", help="a word a line, for a table without words")
    p.add_argument(
        "--form", dest="forms", action="append", metavar="FORM",
        help="a form that may be chosen, such as rounding or additive; may be given several times "
        "(default: all)",
    )  # fmt: skip
    p.add_argument("--seed", type=int, default=0, help="of all random choices (default 0)")
    p.add_argument("--seconds", type=above_zero, metavar="S", help="time it may take, about")

    p = part("info", info, "show what is in a file, every bit accounted for, and how it was made")
    p.add_argument("file", metavar="FILE.kd")
    p.add_argument("--json", action="store_true", help="as JSON")

    p = part("evaluate", evaluate, "measure what was lost")
    p.add_argument("file", metavar="FILE.kd")
    p.add_argument("--against", required=True, metavar="TABLE", help=f"the vectors: {TABLE}")
    p.add_argument("--words", metavar="FILE", help="a word a line, for a table without words")
    p.add_argument(
        "--similarity", action="append", default=[], metavar="FILE",
        help="pairs of words and a number, such as wordsim353.tsv; may be given several times",
    )  # fmt: skip
    p.add_argument(
        "--queries", type=whole, default=1000, metavar="N",
        help="words whose neighbours are compared (default 1000)",
    )  # fmt: skip
    p.add_argument("--seed", type=int, default=0, help="of the choice of them (default 0)")
    p.add_argument("--json", action="store_true", help="as JSON")
    p.add_argument("--html", metavar="PAGE.html", help="write a page with pictures, too")

    p = part("neighbours", neighbours, "find the words whose vectors are nearest by cosine")
    p.add_argument("file", metavar="FILE.kd")
    p.add_argument("word", nargs="+")
    p.add_argument("--topn", type=whole, default=10, metavar="N", help="how many (default 10)")
    p.add_argument("--json", action="store_true", help="as JSON")

    p = part("encode", encode, "add words to a compressed table; those that are there stay")
    p.add_argument("file", metavar="FILE.kd")
    p.add_argument("table", help=f"the new words and vectors: {TABLE}")
    p.add_argument("--out", required=True, metavar="LARGER.kd", help="the file to write")
    p.add_argument("--words", metavar="FILE", help="a word a line, for a table without words")

    p = part("export", export, "write the vectors for other tools")
    p.add_argument("file", metavar="FILE.kd")
    p.add_argument(
        "--to", required=True, metavar="FILE",
        help=".txt (GloVe), .vec (word2vec, fastText), .bin (word2vec), .npy, .safetensors, .onnx",
    )  # fmt: skip
    return made


class Progress:
    """What is being done and the time left, on one line of the terminal's or now and then."""

    def __init__(self) -> None:
        self._what, self._began, self._told, self._width = "", 0.0, 0.0, 0

    def __call__(self, what: str, share: float = 0.0) -> None:
        """So much of something is done."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._told = what, now, 0.0 if sys.stderr.isatty() else now
        text = what
        if share > 0.02:
            left = (now - self._began) * (1 - share) / share
            text += f" {share:.0%}, {duration(left)} left"
        if sys.stderr.isatty():
            if now - self._told > 0.1:
                self._told = now
                print(f"\r{text:<{self._width}}", end="", file=sys.stderr, flush=True)
                self._width = len(text)
        elif now - self._told > PAUSE:
            self._told = now
            print(text, file=sys.stderr, flush=True)

    def line(self, text: str) -> None:
        """A line of its own."""
        self.end()
        print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Make room for other output."""
        if self._width:
            print(f"\r{'':<{self._width}}\r", end="", file=sys.stderr, flush=True)
            self._width = 0


PROGRESS = Progress()


def _load(path: str) -> "CompressedVectors":
    from kdcore.compressed import CompressedVectors

    return CompressedVectors.load(path)


def _read(path: str, words: str | None) -> Any:
    from kdcore.formats import read_vectors

    PROGRESS(f"reading {path}")
    found = read_vectors(path, words)
    for note in found.notes:
        PROGRESS.line(f"kdcore: note: {path}: {note}")
    return found


def _check_output(path: str, *inputs: str | None) -> None:
    """Refuse an output that cannot be, before the work is done."""
    from kdcore.errors import KDError
    from kdcore.files import check_folder, check_output

    check_output(path)
    check_folder(path)
    for given in filter(None, inputs):
        # A table may have a name behind its file's: `model.pt:encoder.weight`.
        files = (Path(given), Path(given.rpartition(":")[0] or given))
        if Path(path).exists() and any(f.exists() and f.samefile(path) for f in files):
            raise KDError(f"{path}: must be another file than the one that is read")


def _with_file(vectors: "CompressedVectors", path: str) -> "CompressedVectors":
    PROGRESS.end()
    vectors.save(path)
    return vectors


def compress(given: argparse.Namespace) -> None:
    """Compress a table."""
    from kdcore.checkpoint import remove_checkpoint
    from kdcore.compressed import compress as run

    _check_output(given.out, given.table, given.words)
    begun, checkpoint = time.monotonic(), f"{given.out}.partial"
    found = _read(given.table, given.words)
    target = {
        name: getattr(given, name)
        for name in ("ratio", "bits_per_word", "size", "max_error", "forms", "seconds")
        if getattr(given, name) is not None
    }
    made = run(found, **target, seed=given.seed, report=PROGRESS, checkpoint=checkpoint)
    _with_file(made, given.out)
    remove_checkpoint(checkpoint)
    for line in summary(made.info(), given.out):
        print(line)
    print(f"took: {duration(time.monotonic() - begun)}")


def info(given: argparse.Namespace) -> None:
    """Show what a file consists of."""
    found = _load(given.file).info()
    if given.json:
        print(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
        return
    for line in [*summary(found, given.file), "", *bits_table(found)]:
        print(line)


def summary(found: "Info", path: str) -> list[str]:
    """What a compressed table is, and how it was made."""
    from kdcore.compressed import JOINED

    lines = [
        f"{path}: {found.words:,} words x {found.dim} numbers",
        f"{found.bits_per_word:.1f} bits a word, {found.ratio:.1f} times smaller than in float32",
    ]
    if "chosen" not in found.how:
        lines.append(f"form: {form(found.kind)}")
    if found.sharing:
        share = found.sharing / found.words
        lines.append(f"{found.sharing:,} words ({share:.1%}) have the vector of another word")
    how = dict(found.how)
    tried = how.pop("tried", None)
    for name, value in how.items():
        if name in ("ratio", "bits_per_word"):
            continue  # said above
        if name == JOINED and isinstance(value, int):
            value = f"{value:,} words, which the error does not count"
        shown = f"{value:.4g}" if isinstance(value, float) else _flat(value)
        lines.append(f"{name.replace('_', ' ')}: {shown}")
    if isinstance(tried, list) and tried and all(isinstance(row, dict) for row in tried):
        from kdcore.evaluation import columns

        heads = list(dict.fromkeys(name for row in tried for name in row))
        cells = [[_cell(row.get(name)) for name in heads] for row in tried]
        lines += ["tried:", *(f"  {line}" for line in columns([heads, *cells]))]
    return lines


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else _flat(value)


def _flat(value: Any) -> str:
    """Something of JSON as a few words."""
    if isinstance(value, Mapping):
        return form(value) if "kind" in value else ", ".join(
            f"{name} {_cell(inner)}" for name, inner in value.items() if inner is not None
        )  # fmt: skip
    if isinstance(value, list):
        return ", ".join(map(_flat, value))
    return str(value)


def form(settings: Mapping[str, Any]) -> str:
    """Settings of a kind as a few words: "rounded (bits 4, of low_rank (rank 3))"."""
    shown = []
    for name, value in settings.items():
        if name == "kind" or value is None or isinstance(value, bool):
            continue
        shown.append(f"{name} {form(value) if isinstance(value, Mapping) else _cell(value)}")
    kind = settings.get("kind")
    inner = ", ".join(shown)
    return f"{kind} ({inner})" if kind and inner else str(kind or inner)


def bits_table(found: "Info") -> list[str]:
    """Where the bytes of a file are."""
    from kdcore.evaluation import columns

    def row(name: str, bits: int) -> list[str]:
        return [name, f"{bits / 8:,.0f}", f"{bits / found.words:.2f}"]

    rows = [["", "bytes", "bits a word"]]
    rows += [row(name, bits) for name, bits in found.tensors.items() if bits]
    rows.append(row("all of the embedding", found.bits))
    rows.append(row("words", found.word_bits))
    if found.file_bits is not None:
        rows.append(row("header of the file", found.file_bits - found.bits - found.word_bits))
        rows.append(row("file", found.file_bits))
    return columns(rows)


def evaluate(given: argparse.Namespace) -> None:
    """Measure what was lost."""
    from kdcore.evaluation import evaluate as run
    from kdcore.evaluation_page import page
    from kdcore.files import write_text

    vectors = _load(given.file)
    if given.html:
        _check_output(given.html, given.file, given.against, given.words, *given.similarity)
    against = _read(given.against, given.words)
    found = run(
        vectors, against, similarity=given.similarity, queries=given.queries, seed=given.seed,
        report=PROGRESS,
    )  # fmt: skip
    PROGRESS.end()
    if given.html:
        write_text(given.html, page(found, Path(given.file).name))
    if given.json:
        print(json.dumps(found.as_dict(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(found.lines()))


def neighbours(given: argparse.Namespace) -> None:
    """Find the nearest words."""
    vectors = _load(given.file)
    rows = {word: vectors.index(word) for word in given.word}
    found = {word: vectors.most_similar(row, given.topn) for word, row in rows.items()}
    if given.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for at, (word, near) in enumerate(found.items()):
        if len(found) > 1:
            print(("\n" if at else "") + f"{word}:")
        for name, score in near:
            print(f"{score:.4f}  {name}")


def encode(given: argparse.Namespace) -> None:
    """Add words to a table."""
    from kdcore.errors import KDError
    from kdcore.evaluation import relative_loss

    _check_output(given.out, given.table, given.words)
    vectors = _load(given.file)
    found = _read(given.table, given.words)
    table, words = found.vectors, found.words
    if vectors.has_words:
        if words is None:
            raise KDError(f"{given.table}: has no words, which the table has; give --words")
        new = [row for row, word in enumerate(words) if word not in vectors]
        if not new:
            raise KDError(f"{given.table}: all of its words are in {given.file}")
        if len(new) < len(words):
            PROGRESS.line(
                f"kdcore: note: {len(words) - len(new):,} words are in {given.file} and stay as "
                "they are there"
            )
        table, words = table[new], [words[row] for row in new]
    PROGRESS(f"encoding {len(table):,} vectors")
    before = len(vectors)
    made = _with_file(vectors.extended(words or (), table), given.out)
    lost = relative_loss(table, made, before)
    print(f"{given.out}: {len(made):,} words, {len(made) - before:,} of them new")
    print(f"error of the new words: {lost:.4f}")


def export(given: argparse.Namespace) -> None:
    """Write the vectors for other tools."""
    _check_output(given.to, given.file)
    vectors = _load(given.file)
    PROGRESS(f"writing {given.to}")
    vectors.export(given.to)
    PROGRESS.end()
    print(f"{given.to}: {len(vectors):,} vectors of size {vectors.dim}")


@contextmanager
def _said() -> Iterator[None]:
    """Warnings as lines on stderr."""

    def show(message: Warning | str, *rest: Any, **options: Any) -> None:
        PROGRESS.line(f"kdcore: note: {' '.join(str(message).split())}")

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        # Those of other libraries about themselves are of no use here.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.showwarning = show
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status.

    Returns:
        0; 1 where something could not be done, 2 for arguments that are wrong, 130 when
        interrupted.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever called: nobody is there to be told
            setattr(sys, name, io.StringIO())
    try:
        reader = parser()
        given = reader.parse_args(arguments)
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A word that the terminal cannot show ends nothing.
            sys.stdout.reconfigure(errors="backslashreplace")
        if given.version:
            from kdcore import __version__

            print(f"kdcore {__version__}")
            return 0
        if not hasattr(given, "does"):
            reader.print_help(sys.stderr)
            return USAGE
        with _said():
            given.does(given)
        sys.stdout.flush()
        return 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else FAILED
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read has seen enough; nothing more can be written, not at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except MemoryError as error:
        return _fail(f"out of memory ({error})" if str(error) else "out of memory")
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (ValueError, LookupError, RuntimeError) as error:
        # The text of a plain KeyError has quotes around it.
        shown = error.args[0] if type(error) is KeyError and error.args else error
        return _fail(str(shown) or type(error).__name__)


def _fail(message: str, status: int = FAILED) -> int:
    PROGRESS.end()
    print(f"kdcore: {' '.join(message.split())}", file=sys.stderr)
    return status
