"""The site of the pages: `make docs` builds it strictly, from README and docs/.

Its packages are those of requirements-docs.txt, which `make docs` installs.
"""

import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from project_copy import ROOT

import kdcore

pytestmark = pytest.mark.slow


class Links(HTMLParser):
    """What a page leads to and is made of, and the names in it."""

    def __init__(self, page: Path):
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.names: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.names |= {given["id"]} if given.get("id") else set()
        if tag == "a" and given.get("href"):
            self.targets.append(given["href"])
        elif tag in ("script", "img", "iframe") and given.get("src"):
            self.loaded.append(given["src"])
        elif tag == "link" and given.get("rel") != "canonical":
            self.loaded.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    assert find_spec("mkdocs"), "make docs installs what builds the pages"
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    pages = {page: Links(page) for page in site.rglob("*.html") if page.name != "404.html"}
    assert len(pages) > 20
    for page, found in pages.items():
        for target in found.targets + found.loaded:
            parts = urlsplit(target)
            if parts.scheme:
                assert parts.scheme == "https" and target not in found.loaded, (page, target)
                continue
            there = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert there.exists() and there.is_relative_to(site), (page, target)
            if parts.fragment and there in pages:
                names = pages[there].names
                assert parts.fragment in names or parts.fragment.startswith("__"), (page, target)


def test_the_api_has_every_public_name(site):
    page = (site / "reference/api.html").read_text(encoding="utf-8")
    for name in kdcore.__all__:
        assert f'id="kdcore.{name}"' in page or f"<code>{name}</code>" in page, name
    # Examples are code.
    assert "&gt;&gt;&gt; " in re.sub("<[^>]*>", "", page)
    assert "<blockquote>" not in page


def test_pages_of_the_project_and_results_are_on_the_site(site):
    table = (ROOT / "results/paper/table1.csv").read_text(encoding="utf-8")
    for name in ("index", "results"):
        page = re.sub("<[^>]*>", "", (site / f"{name}.html").read_text(encoding="utf-8"))
        for label in re.findall(r"^small,[\w-]+,([^,]+),", table, re.M):
            assert label in page
    for name in ("contributing", "changelog", "reference/configuration", "results/paper/claims"):
        assert (site / f"{name}.html").is_file()
    assert (site / "results/paper/figure3.png").is_file()
