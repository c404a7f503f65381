"""Downloads and word-vector files, against a web server on this machine."""

import functools
import hashlib
import http.server
import os
import shutil
import threading
import zipfile
from urllib.parse import urlsplit

import pytest
import torch

from kdcore import KDError
from kdcore.files import atomic_path
from kdcore.tensors import save_tensors
from kdcore.vectors import WordVectors
from kdlab.download import MIRROR_VARIABLE, fetch, mirror_folder
from kdlab.texts.ptb import SHA256, fetch_ptb
from kdlab.vectors import VECTORS, VectorInputs, glove
from kdlab.vectors.glove import read_glove
from kdlab.word_vector_text import parse_vectors


class RangeServer(http.server.SimpleHTTPRequestHandler):
    """Answers range requests, which the standard handler does not, and counts bytes."""

    sent = 0

    def do_GET(self):
        # A proxy is asked for a whole address.
        path = self.translate_path(urlsplit(self.path).path)
        try:
            with open(path, "rb") as stream:
                content = stream.read()
        except OSError:
            self.send_error(404)
            return
        first, last = 0, len(content) - 1
        asked = self.headers.get("Range")
        if asked:
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
        body = content[first : last + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        self.wfile.write(body)
        RangeServer.sent += len(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(RangeServer, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    RangeServer.sent = 0
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def get(target, urls, expected, mirror=None):
    fetch(target, urls=urls, expected=expected, mirror=mirror, mirror_name="x/file.txt")


def test_the_second_source_is_tried(site, tmp_path):
    folder, url = site
    (folder / "file.txt").write_text("content")
    expected = hashlib.sha256(b"content").hexdigest()
    target = tmp_path / "got" / "file.txt"
    get(target, [f"{url}/absent.txt", f"{url}/file.txt"], expected)
    assert target.read_text() == "content"


def test_an_altered_download_is_refused_and_nothing_is_left(site, tmp_path):
    folder, url = site
    (folder / "file.txt").write_text("altered")
    target = tmp_path / "got" / "file.txt"
    with pytest.raises(KDError, match=f"expected {'0' * 64}") as caught:
        get(target, [f"{url}/file.txt"], "0" * 64)
    assert "\n" not in str(caught.value)
    assert list(target.parent.iterdir()) == []


def test_no_source_names_the_file_the_urls_and_the_setting(site, tmp_path):
    _, url = site
    with pytest.raises(KDError) as caught:
        get(tmp_path / "file.txt", [f"{url}/absent.txt"], "0" * 64, mirror=tmp_path)
    message = str(caught.value)
    for part in (
        "file.txt",
        f"{url}/absent.txt (HTTPError 404)",
        "data_mirror",
        MIRROR_VARIABLE,
        str(tmp_path),
    ):
        assert part in message
    assert "\n" not in message


def test_a_treebank_altered_after_the_download_is_refused(tmp_path):
    (tmp_path / "ptb.train.txt").write_text("no it was n't black monday\n")
    with pytest.raises(KDError, match="altered since it was downloaded; delete it"):
        fetch_ptb(tmp_path, None)
    assert set(SHA256) == {"train", "valid", "test"}


def test_a_broken_connection_is_tried_again(tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr("kdlab.download.time.sleep", waits.append)
    with pytest.raises(KDError, match="ConnectionError"):
        get(tmp_path / "file.txt", ["http://127.0.0.1:9/never"], "0" * 64)
    assert waits == [2, 4]


def test_the_mirror_comes_first_and_is_checked(tmp_path):
    mirror = tmp_path / "mirror"
    (mirror / "x").mkdir(parents=True)
    (mirror / "x" / "file.txt").write_text("content")
    expected = hashlib.sha256(b"content").hexdigest()
    get(tmp_path / "file.txt", ["http://127.0.0.1:9/never"], expected, mirror)
    assert (tmp_path / "file.txt").read_text() == "content"
    with pytest.raises(KDError, match="altered or truncated"):
        get(tmp_path / "other.txt", ["http://127.0.0.1:9/never"], "0" * 64, mirror)


def test_a_mirror_that_is_named_must_be_a_folder(tmp_path, monkeypatch):
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    assert mirror_folder() is None
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path))
    assert mirror_folder() == tmp_path
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(KDError, match="data_mirror must be a folder, got"):
        mirror_folder()


def glove_text(words: int) -> str:
    return "".join(f"word{i} {i % 7}.5 {-i % 5}.25\n" for i in range(words))


def test_the_first_lines_of_a_remote_archive_move_little(site, monkeypatch):
    folder, url = site
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (8_000_000,), generator=generator, dtype=torch.uint8)
    with zipfile.ZipFile(folder / "glove.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("other", bytes(noise.tolist()))
        archive.writestr("glove.6B.50d.txt", glove_text(20_000))
    found = read_glove(50, 300, None, [f"{url}/absent.zip", f"{url}/glove.zip"])
    assert found == glove_text(300)
    assert RangeServer.sent < 3_500_000
    with pytest.raises(KDError, match="fewer than the 30000"):
        read_glove(50, 30_000, None, [f"{url}/glove.zip"])
    monkeypatch.setitem(glove.FIRST_LINES_SHA256, (50, 300), "0" * 64)
    with pytest.raises(KDError, match="altered or truncated"):
        read_glove(50, 300, None, [f"{url}/glove.zip"])


def test_glove_from_a_mirror_and_from_nowhere(site, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr("kdlab.vectors.glove.time.sleep", waits.append)
    (tmp_path / "glove").mkdir()
    # A server that is not reached is tried again, one that has no such file is not.
    urls = ["http://127.0.0.1:9/never.zip", f"{site[1]}/absent.zip"]
    with pytest.raises(KDError, match=r"data_mirror.*glove/glove\.6B\.50d\.txt") as told:
        read_glove(50, 300, tmp_path, urls)
    assert "never.zip (ClientConnectorError)" in str(told.value)
    assert "absent.zip (not found)" in str(told.value)
    assert waits == [2, 4]
    (tmp_path / "glove" / "glove.6B.50d.10k.txt").write_text(glove_text(10_000))
    assert read_glove(50, 300, tmp_path) == glove_text(300)
    (tmp_path / "glove" / "glove.6B.50d.txt").write_text(glove_text(400))
    with pytest.raises(KDError, match="fewer than the 500"):
        read_glove(50, 500, tmp_path)


def test_glove_comes_through_the_proxy_of_the_environment(site, monkeypatch):
    folder, url = site
    with zipfile.ZipFile(folder / "glove.zip", "w") as archive:
        archive.writestr("glove.6B.50d.txt", glove_text(300))
    monkeypatch.setenv("http_proxy", url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert read_glove(50, 300, None, ["http://nowhere.invalid/glove.zip"]) == glove_text(300)


def test_vectors_are_parsed(tmp_path):
    found = parse_vectors(["the 1 2.5\n", "cat -1 0\n"], "x.txt")
    assert found.words == ("the", "cat")
    assert found.vectors.tolist() == [[1, 2.5], [-1, 0]]
    lines = ["3 2", "a 1 2", "b 3 4", "c 5 6"]
    assert parse_vectors(lines, "word2vec").words == ("a", "b", "c")
    assert parse_vectors(lines, "word2vec", 2).words == ("a", "b")
    assert parse_vectors(lines[1:], "x.txt", 2).words == ("a", "b")
    found.save(tmp_path / "v")
    again = WordVectors.load(tmp_path / "v")
    assert again.words == found.words and torch.equal(again.vectors, found.vectors)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "x.txt: no vectors"),
        (["a 1 2", "b 1"], "line 2 has 1 values, expected 2"),
        (["a 1 2", "b 1 z"], "line 2: not all values are numbers"),
        (["a 1 2", "b 1 nan"], "vector of 'b' has a value that is not finite"),
        (["a 1 2", "a 1 3"], "line 2: the word 'a' comes twice"),
        (["alone"], "line 1 has 0 values"),
    ],
)
def test_bad_vector_files_are_one_clear_line(lines, message):
    with pytest.raises(KDError, match=message):
        parse_vectors(lines, "x.txt")


def test_a_file_of_vectors_that_is_absent_or_no_text_is_one_clear_line(tmp_path):
    settings = VECTORS.parse({"kind": "file", "path": str(tmp_path / "my.vec")})
    with pytest.raises(KDError, match=r"my\.vec: No such file or directory$"):
        settings.module.read(settings, VectorInputs())
    (tmp_path / "my.vec").write_bytes(b"a 1\n\xff 2\n")
    with pytest.raises(KDError, match=r"my\.vec, line 2: must be UTF-8 text, has the byte 0xff$"):
        settings.module.read(settings, VectorInputs())


def test_vectors_of_a_model_need_its_text_and_its_table(tmp_path, corpus):
    settings = VECTORS.parse({"kind": "model"})
    with pytest.raises(KDError, match="vectors of kind 'model' need a text and a model"):
        settings.module.read(settings, VectorInputs(text=tmp_path / "corpus"))
    inputs = VectorInputs(tmp_path / "corpus", tmp_path / "model")
    corpus.save(inputs.text)
    table = torch.randn(len(corpus.words), 3)
    save_tensors(inputs.model, {"embedding.weight": table}, {"kind": "language model"})
    found = settings.module.read(settings, inputs)
    assert found.words == corpus.words and torch.equal(found.vectors, table)
    save_tensors(inputs.model, {"embedding.W": table}, {"kind": "language model"})
    with pytest.raises(KDError, match=r"embedding\.weight"):
        settings.module.read(settings, inputs)


def test_a_failed_write_leaves_nothing(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    with pytest.raises(KDError, match="cannot write"), atomic_path(target / "below"):
        pass


def test_what_cannot_be_read_is_not_what_cannot_be_written(tmp_path):
    with pytest.raises(KDError, match=r"absent: No such file"), atomic_path(tmp_path / "file") as t:
        shutil.copyfile(tmp_path / "absent", t)
    with (
        pytest.raises(KDError, match=r"cannot write .*file: No such file"),
        atomic_path(tmp_path / "file") as t,
    ):
        t.unlink()
        t.read_bytes()


def test_a_full_disk_is_one_clear_line(tmp_path):
    full = pytest.raises(KDError, match="No space left on device")
    with full, atomic_path(tmp_path / "file"), open("/dev/full", "w") as stream:
        stream.write("x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def test_what_is_synced_is_open_for_writing_as_windows_asks(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: os.write(handle, b""))
    with atomic_path(tmp_path / "file") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"
