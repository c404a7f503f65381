"""What MkDocs does beside building docs/: pages of the project are on the site too.

The sources are read on GitHub as well, so links in them are those of the folders. A link out of
docs/ leads here to a page that is made of the file, to a copy of a result, or is left as text.
"""

import re
from pathlib import Path
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
# Pages of the project, and what they are on the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "config/README.md": "reference/configuration.md",
    "measurements/README.md": "reference/measurements.md",
    "data/README.md": "reference/data.md",
}
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the project's pages, and the results that any page links to."""
    for source, target in PAGES.items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    for source in {link for page in _sources() for link in _results_of(page)}:
        files.append(File.generated(config, source, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of docs/ to where their target is on the site."""
    on_site = {target: source for source, target in PAGES.items()}
    here = page.file.src_uri
    source = ROOT / on_site.get(here, here if here.startswith("results/") else f"docs/{here}")
    parts, end = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [_relinked(markdown[end : fence.start()], source, here), fence.group()]
        end = fence.end()
    return "".join([*parts, _relinked(markdown[end:], source, here)])


def _relinked(text: str, source: Path, here: str) -> str:
    def again(link: re.Match[str]) -> str:
        sign, shown, target = link.groups()
        place, _, anchor = target.partition("#")
        if not place or ":" in place:
            return link.group()
        there = _on_site((source.parent / unquote(place)).resolve())
        if there is None:
            return shown
        up = "../" * here.count("/")
        return f"{sign}[{shown}]({up}{there}{'#' + anchor if anchor else ''})"

    return LINK.sub(again, text)


def _on_site(file: Path) -> str | None:
    """Where a file of the project is on the site; None if it is not there."""
    if not file.is_relative_to(ROOT):
        return None
    name = file.relative_to(ROOT).as_posix()
    if name in PAGES:
        return PAGES[name]
    if file.is_relative_to(DOCS) and file.is_file():
        return file.relative_to(DOCS).as_posix()
    return name if name.startswith("results/") and file.is_file() else None


def _sources() -> list[Path]:
    return [*DOCS.rglob("*.md"), *(ROOT / name for name in PAGES)]


def _results_of(page: Path) -> list[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    places = [link[3].partition("#")[0] for link in LINK.finditer(text)]
    found = [_on_site((page.parent / unquote(place)).resolve()) for place in places if place]
    return [name for name in found if name and name.startswith("results/")]
