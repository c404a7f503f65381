"""Inputs that are wrong, through the workflow.

One line says what to do, and the same command works once the cause is gone.
"""

import hashlib
import http.server
import shutil
import threading
from pathlib import Path

import pytest
from project_copy import copy_project, edit, snakemake, succeed

from kdlab.texts.ptb import SHA256

pytestmark = pytest.mark.slow

TEXT = {"train": "the cat sat\n" * 40, "valid": "the cat lay\n" * 4, "test": "the mat\n" * 4}


class CuttingServer(http.server.BaseHTTPRequestHandler):
    """Says how long a file is and, while `cuts` is true, sends half of it."""

    cuts = True

    def do_GET(self):
        text = TEXT[self.path.split(".")[-2]].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text[: len(text) // 2] if self.cuts else text)

    def log_message(self, *_):
        pass


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose treebank is a few lines, known by their sums, in the folder `mirror`."""
    monkeypatch.delenv("KDCORE_DATA_MIRROR", raising=False)
    target = copy_project(tmp_path / "project")
    (target / "mirror/ptb").mkdir(parents=True)
    for split, text in TEXT.items():
        (target / f"mirror/ptb/ptb.{split}.txt").write_text(text)
        found = hashlib.sha256(text.encode()).hexdigest()
        edit(target / "kdlab/texts/ptb.py", SHA256[split], found)
    edit(
        target / "config/tiny.yaml",
        "{kind: generated, training_tokens: 2000, seed: 1}",
        "{kind: ptb}",
    )
    return target


def fails(project: Path, message: str) -> None:
    failed = snakemake(project, "data")
    told = failed.stdout + failed.stderr
    assert failed.returncode != 0
    lines = [line for line in told.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and message in lines[0], told
    assert "Traceback" not in told


def test_a_wrong_file_in_the_mirror_and_one_altered_later(project, monkeypatch):
    monkeypatch.setenv("KDCORE_DATA_MIRROR", str(project / "mirror"))
    file = project / "mirror/ptb/ptb.valid.txt"
    file.write_text("the cat lied\n")
    fails(project, "mirror/ptb/ptb.valid.txt has SHA-256")
    assert not list((project / "data/ptb").glob("*ptb.valid*"))
    file.write_text(TEXT["valid"])
    succeed(project, "data")

    downloaded = project / "data/ptb/ptb.valid.txt"
    downloaded.write_text("the cat lied\n")
    shutil.rmtree(project / "runs/texts")
    fails(project, "data/ptb/ptb.valid.txt: altered since it was downloaded; delete it")
    downloaded.unlink()
    succeed(project, "data")
    assert downloaded.read_text() == TEXT["valid"]


def test_a_server_that_cuts_files_short(project, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), CuttingServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    edit(project / "kdlab/texts/ptb.py", "https://raw.githubusercontent.com", url)
    edit(project / "kdlab/download.py", "ATTEMPTS = 3", "ATTEMPTS = 1")
    try:
        fails(project, "cannot get ptb.train.txt: tried " + url)
        assert not list((project / "data/ptb").glob("*ptb.train*"))
        monkeypatch.setattr(CuttingServer, "cuts", False)
        succeed(project, "data")
    finally:
        server.shutdown()
        server.server_close()
