"""An evaluation as one HTML page: its pictures are in it, nothing is loaded."""

from collections.abc import Iterable
from html import escape

from kdcore.evaluation import Evaluation

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 220, 44, 34
STYLE = """
:root { --ink: #1b1f24; --dim: #5b6470; --line: #d8dde3; --bar: #2f6fb0; --back: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --dim: #9aa4b0; --line: #333a43; --bar: #6aa7e3; --back: #15181c; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);
  max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
p, figcaption, td.lost { color: var(--dim); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child, .text td, .text th { text-align: left; }
.text td { vertical-align: top; }
figure { margin: 0; overflow-x: auto; } svg { max-width: 100%; height: auto; }
svg text { fill: var(--dim); font: 12px system-ui, sans-serif; }
svg .bar { fill: var(--bar); } svg line { stroke: var(--line); }
.kept { color: var(--ink); font-weight: 600; }
"""


def page(found: Evaluation, title: str) -> str:
    """The whole page.

    Args:
        title: for example the file's name.
    """
    q = found.all
    overlap = "" if q.overlap is None else (
        f" Of the ten nearest neighbours of a word {q.overlap:.0%} stay among the ten nearest."
    )  # fmt: skip
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{found.ratio:.1f} times smaller than in float32: {found.bits_per_word:.1f} bits a "
        f"word. {q.error:.1%} of the variance is lost; a vector and its compressed one have a "
        f"cosine of {q.cosine:.3f}, below {q.worst:.3f} for one word in a hundred.{overlap}</p>",
        _table(found.rows()),
    ]
    if found.missing:
        parts.append(f"<p>{found.missing:,} words are not in the other table and left out.</p>")
    low, high = found.ends
    count = len(found.histogram)
    at = {i: f"{low + (high - low) * i / count:.2f}" for i in range(0, count + 1, count // 4)}
    words = [f"{n:,} words" for n in found.histogram]
    parts += [
        "<h2>Cosine of a vector and its compressed one</h2>",
        _bars(found.histogram, at, words, "words by cosine, between the ends of the axis", gap=1),
    ]
    bands = {name: b.overlap for name, b in found.bands.items() if b.overlap is not None}
    if bands:
        names = dict(zip((i + 0.5 for i in range(len(bands))), bands, strict=True))
        parts += [
            "<h2>Neighbours that stay, by rank of the word</h2>",
            _bars(
                list(bands.values()), names, [f"{x:.1%}" for x in bands.values()],
                "share of the ten nearest that stay; frequent words to the left", gap=24, top=1.0,
            ),
        ]  # fmt: skip
    if found.similarity:
        rows = [["pairs of words", "pairs", "before", "after"]]
        for s in found.similarity:
            used = f"{s.pairs} of {s.given}"
            rows.append([s.name, used, f"{s.before:.3f}", f"{s.after:.3f}"])
        parts += ["<h2>Word similarity, Spearman's correlation</h2>", _table(rows)]
    if found.neighbours:
        parts += ["<h2>Some words and their neighbours</h2>", _neighbours(found)]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n{body}\n</html>\n"
    )


def _cells(cells: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _table(rows: list[list[str]]) -> str:
    head, *rest = rows
    body = "\n".join(_cells(row, "td") for row in rest)
    return f"<table><thead>{_cells(head, 'th')}</thead><tbody>\n{body}\n</tbody></table>"


def _bars(
    heights: Iterable[float], marks: dict[float, str] | dict[int, str], titles: list[str],
    caption: str, gap: float, top: float | None = None,
) -> str:  # fmt: skip
    heights = list(heights)
    top = max([*heights, 1]) if top is None else top
    step = (WIDTH - LEFT) / len(heights)
    floor = HEIGHT - BOTTOM
    drawn = []
    for i, (height, title) in enumerate(zip(heights, titles, strict=True)):
        size = (floor - 20) * height / top
        drawn.append(
            f'<rect class="bar" x="{LEFT + i * step + gap / 2:.1f}" y="{floor - size:.1f}" '
            f'width="{step - gap:.1f}" height="{size:.1f}"><title>{escape(title)}</title></rect>'
        )
    for place, text in marks.items():
        x = LEFT + place * step
        anchor = "end" if x > WIDTH - 20 else "middle"
        drawn.append(
            f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="{anchor}">{escape(text)}</text>'
        )
    highest = f"{top:.0%}" if top == 1 else f"{top:,.0f}"
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'aria-label="{escape(caption)}">\n'
        f'<line x1="{LEFT}" y1="{floor}" x2="{WIDTH}" y2="{floor}"/>\n'
        f'<text x="{LEFT - 6}" y="24" text-anchor="end">{highest}</text>\n'
        + "\n".join(drawn)
        + f"\n</svg><figcaption>{escape(caption)}</figcaption></figure>"
    )


def _neighbours(found: Evaluation) -> str:
    rows = []
    for word, (before, after) in found.neighbours.items():
        lists = []
        for own, other in ((before, after), (after, before)):
            marked = (
                f'<span class="{"kept" if name in other else "lost"}">{escape(name)}</span>'
                for name in own
            )
            lists.append(f"<td>{', '.join(marked)}</td>")
        rows.append(f"<tr><td>{escape(word)}</td>{''.join(lists)}</tr>")
    head = _cells(["word", "nearest before", "nearest after"], "th")
    return (
        f'<table class="text"><thead>{head}</thead><tbody>\n' + "\n".join(rows)
        + "\n</tbody></table>"
    )  # fmt: skip
