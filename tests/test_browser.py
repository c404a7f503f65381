"""The pages for looking at, in Debian's chromium without a window: `make test-browser`."""

import asyncio
import itertools
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import aiohttp
import pytest
from project_copy import ROOT, prepare, run, succeed

from kdcore.files import read_json
from kdlab.experiment import from_dump

pytestmark = pytest.mark.browser

FOUND = """JSON.stringify({
  pictures: document.images.length,
  broken: [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt || i.src),
  width: innerWidth,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  cut: [...document.querySelectorAll("table")].filter(t => {
    const box = t.parentElement;
    return t.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX !== "auto";
  }).length,
  tables: document.querySelectorAll("table").length,
})"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """The address of a running browser."""
    assert shutil.which("chromium"), "apt-get install --no-install-recommends chromium"
    home = tmp_path_factory.mktemp("chromium")
    words = ["chromium", "--headless", "--remote-debugging-port=0", f"--user-data-dir={home}",
             "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage"]  # fmt: skip
    if os.geteuid() == 0:
        words.append("--no-sandbox")
    with (home / "log").open("w") as log:
        process = subprocess.Popen([*words, "about:blank"], stdout=log, stderr=log)
    told = home / "DevToolsActivePort"
    try:
        deadline = time.monotonic() + 60
        while not (told.exists() and len(told.read_text().splitlines()) == 2):
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{told.read_text().splitlines()[0]}"
    finally:
        process.terminate()
        process.wait()


def pages_of_docs() -> list[str]:
    """The pages of the site, as its navigation has them."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return re.findall(r"([\w/-]+)\.md$", text.partition("\nnav:")[2], re.M)


def look(browser: str, page: Path, width: int) -> dict:
    """What a page shows in a window of that width, without network; `errors` of its console.

    KDCORE_SCREENSHOTS names a folder for pictures of it.
    """
    return asyncio.run(_look(browser, page, width))


async def _look(browser: str, page: Path, width: int) -> dict:
    errors, number, loaded = [], itertools.count(1), False
    async with aiohttp.ClientSession() as session:
        async with session.put(f"{browser}/json/new") as answer:
            tab = await answer.json()
        async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:

            def note(message: dict) -> None:
                nonlocal loaded
                told = message.get("params", {})
                match message.get("method"):
                    case "Page.loadEventFired":
                        loaded = True
                    case "Runtime.exceptionThrown":
                        errors.append(told["exceptionDetails"])
                    case "Runtime.consoleAPICalled" if told["type"] == "error":
                        errors.append(told["args"])
                    case "Log.entryAdded" if told["entry"]["level"] == "error":
                        errors.append(told["entry"])

            async def ask(method: str, **params) -> dict:
                asked = next(number)
                await socket.send_json({"id": asked, "method": method, "params": params})
                while (message := await socket.receive_json(timeout=60)).get("id") != asked:
                    note(message)
                assert "error" not in message, message
                return message["result"]

            for domain in ("Page", "Runtime", "Log", "Network"):
                await ask(f"{domain}.enable")
            await ask("Network.emulateNetworkConditions", offline=True, latency=0,
                      downloadThroughput=-1, uploadThroughput=-1)  # fmt: skip
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
            await ask("Emulation.setDeviceMetricsOverride", **size)
            await ask("Page.navigate", url=page.resolve().as_uri())
            while not loaded:
                note(await socket.receive_json(timeout=60))
            # Pages that a script builds are not there yet.
            await asyncio.sleep(1)
            found = await ask("Runtime.evaluate", expression=FOUND)
            if folder := os.environ.get("KDCORE_SCREENSHOTS"):
                await _photograph(ask, Path(folder) / f"{page.stem}-{width}.png")
            await ask("Page.close")
    return {**json.loads(found["result"]["value"]), "errors": errors}


async def _photograph(ask, target: Path) -> None:
    from base64 import b64decode

    shot = await ask("Page.captureScreenshot", captureBeyondViewport=True)
    target.write_bytes(b64decode(shot["data"]))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project run through DVC, with the pages that Snakemake and DVC write about it."""
    project = prepare(tmp_path_factory.mktemp("browser") / "project")
    run(project, "dvc", "repro")
    run(project, "dvc", "plots", "show", "-o", "plots")
    succeed(project, "all", "--report", "steps.html")
    return project


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("preset", ["paper", "tiny"])
def test_the_report_fits_the_window_and_shows_every_picture(browser, request, preset, width):
    place = ROOT if preset == "paper" else request.getfixturevalue("project")
    results = place / f"results/{preset}"
    found = look(browser, results / "report.html", width)
    assert found["errors"] == []
    figures = from_dump(read_json(results / "settings.json")).preset.figures
    assert found["pictures"] == len(figures) > 5 and found["broken"] == []
    assert found["width"] == width and found["overflow"] <= 0
    assert found["tables"] > 5 and found["cut"] == 0


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("name", pages_of_docs())
def test_a_page_of_the_docs_fits_the_window_and_shows_every_picture(browser, name, width):
    """What `make docs` built."""
    page = ROOT / "build/docs" / f"{name}.html"
    assert page.is_file(), "make docs"
    found = look(browser, page, width)
    assert found["errors"] == [] and found["broken"] == []
    assert found["width"] == width and found["overflow"] <= 0 and found["cut"] == 0


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_of_dvcs_plots(browser, project, width):
    found = look(browser, project / "plots/index.html", width)
    assert found["errors"] == []
    assert found["pictures"] == 3 and found["broken"] == []
    assert found["width"] == width and found["overflow"] <= 0


def test_snakemakes_own_page(browser, project):
    found = look(browser, project / "steps.html", 1200)
    assert found["errors"] == [] and found["broken"] == []


def test_a_page_that_is_wrong_is_noticed(browser, tmp_path):
    page = tmp_path / "wrong.html"
    page.write_text(
        "<!DOCTYPE html><img src='absent.png'><div style='width: 2000px'>wide</div>"
        "<img src='https://example.org/picture.png'><script>undefined_name()</script>"
    )
    found = look(browser, page, 390)
    assert len(found["broken"]) == 2 and found["overflow"] > 0
    assert any("undefined_name" in json.dumps(error) for error in found["errors"])
