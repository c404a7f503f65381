"""The command `kdcore`, as a user types it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdcore import EMBEDDINGS, Codes, CompressedVectors, KDError, read_vectors
from kdcore.command import byte_size, main
from kdcore.embeddings import EmbeddingInputs
from kdcore.embeddings.uniform import UniformEmbedding

N, DIM = 30, 6
KD = {"kind": "kd", "transform": {"kind": "linear"}}


@pytest.fixture
def rounding(monkeypatch):
    """Stands in for the choice of a form: 4 bits a number, whatever is asked for."""

    def compress_table(vectors, *, report, **options):
        report("trying", 0.5)
        how = {name: value for name, value in options.items() if value is not None}
        how["tried"] = [{"form": "uniform", "bits": 4, "error": 0.012}, {"form": "kd"}]
        settings = EMBEDDINGS.parse({"kind": "uniform", "bits": 4})
        return SimpleNamespace(
            embedding=UniformEmbedding(vectors, 4).eval(), settings=settings, how=how
        )

    stub = SimpleNamespace(compress_table=compress_table)
    monkeypatch.setitem(sys.modules, "kdcore.compressing", stub)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a table of text, and the same compressed."""
    monkeypatch.chdir(tmp_path)
    table = torch.randn(N, DIM)
    lines = (f"w{i} {' '.join(map(repr, row))}\n" for i, row in enumerate(table.tolist()))
    Path("t.txt").write_text("".join(lines))
    save(Path("t.kd"), {"kind": "uniform", "bits": 4}, UniformEmbedding(table, 4))
    return tmp_path


def save(path, values, embedding=None, words=True):
    settings = EMBEDDINGS.parse(values)
    inputs = EmbeddingInputs(codes=Codes.random(N, 6, 4, seed=0), init_scale=1.0)
    made = embedding or settings.module.build(settings, N, DIM, inputs)
    named = [f"w{i}" for i in range(N)] if words else None
    CompressedVectors(made, settings, named, {"asked": "ratio 8"}).save(path)


def run(capsys, *words, status=0):
    """What a command says on stdout, and on stderr."""
    found = main(list(map(str, words)))
    out, err = capsys.readouterr()
    assert found == status, err
    return out, err


def refused(capsys, *words, status=1):
    out, err = run(capsys, *words, status=status)
    assert out == "" and err.count("\n") == 1 and "Traceback" not in err
    return err.strip()


# The six commands


def test_a_table_is_compressed_and_shown(here, capsys, rounding):
    out, err = run(capsys, "compress", "t.txt", "--ratio", "8", "--out", "new.kd")
    assert err == ""
    assert out.splitlines()[:3] == [
        f"new.kd: {N} words x {DIM} numbers",
        "56.0 bits a word, 3.4 times smaller than in float32",
        "form: uniform (bits 4)",
    ]
    assert "tried:\n  form     bits  error\n  uniform     4  0.012\n  kd          -      -\n" in out
    v = CompressedVectors.load("new.kd")
    assert v.how["ratio"] == 8 and v.how["seed"] == 0
    torch.testing.assert_close(v["w3"], read_vectors("t.txt").vectors[3], rtol=0, atol=0.3)


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        (["--bits-per-word", "30"], "bits_per_word", 30),
        (["--size", "10MB"], "size", 1e7),
        (["--max-error", "0.1"], "max_error", 0.1),
        (["--ratio", "4", "--seconds", "9", "--seed", "3"], "seconds", 9),
    ],
)
def test_every_target_reaches_the_compressor(option, name, value, here, capsys, rounding):
    run(capsys, "compress", "t.txt", *option, "--out", "new.kd")
    assert CompressedVectors.load("new.kd").how[name] == value


def test_what_is_odd_is_said(here, capsys, rounding):
    with open("t.txt", "a") as stream:
        stream.write("w3 " + "0 " * DIM + "\n")
    _, err = run(capsys, "compress", "t.txt", "--ratio", "8", "--out", "new.kd")
    assert err == "kdcore: note: t.txt: line 31: 'w3' comes again; the first is kept\n"


def test_words_of_a_table_without_some(here, capsys, rounding):
    np.save("t.npy", np.random.default_rng(0).standard_normal((3, 4)))
    Path("words.txt").write_text("a\nb c\nd\n")
    run(capsys, "compress", "t.npy", "--words", "words.txt", "--ratio", "2", "--out", "n.kd")
    assert list(CompressedVectors.load("n.kd").words) == ["a", "b c", "d"]


def test_info_accounts_for_every_byte(here, capsys):
    out, _ = run(capsys, "info", "t.kd")
    rows = {line.rsplit(None, 2)[0].strip(): line.split()[-2] for line in out.splitlines()[6:]}
    sizes = {name: int(size.replace(",", "")) for name, size in rows.items()}
    assert sizes["packed"] + sizes["scale"] + sizes["offset"] == sizes["all of the embedding"]
    whole = sizes["all of the embedding"] + sizes["words"] + sizes["header of the file"]
    assert whole == sizes["file"] == os.stat("t.kd").st_size
    assert "asked: ratio 8" in out
    found = json.loads(run(capsys, "info", "t.kd", "--json")[0])
    assert found["words"] == N and found["file_bits"] == 8 * sizes["file"]


def test_evaluation_as_text_json_and_page(here, capsys):
    Path("pairs.tsv").write_text("".join(f"w{i}\tw{i + 1}\t{i}\n" for i in range(8)))
    command = ("evaluate", "t.kd", "--against", "t.txt", "--similarity", "pairs.tsv")
    out, _ = run(capsys, *command, "--html", "page.html")
    assert "overlap@10" in out and "pairs: " in out and "(8 of 8 pairs; Spearman)" in out
    assert Path("page.html").read_text().startswith("<!doctype html>")
    found = json.loads(run(capsys, *command, "--json", "--queries", "5")[0])
    assert found["all"]["queries"] == 5 and found["similarity"][0]["name"] == "pairs"
    assert f"{found['all']['error']:.4f}" in out


def test_a_compressed_table_is_measured_against_another(here, capsys):
    save(Path("coarse.kd"), {"kind": "uniform", "bits": 1})
    found = [
        json.loads(run(capsys, "evaluate", "coarse.kd", "--against", other, "--json")[0])["all"]
        for other in ("t.kd", "coarse.kd")
    ]
    assert found[0]["error"] > 0 == found[1]["error"] and found[1]["overlap"] == 1


def test_neighbours_of_words(here, capsys):
    out, _ = run(capsys, "neighbours", "t.kd", "w3", "--topn", "2")
    wanted = CompressedVectors.load("t.kd").most_similar("w3", 2)
    assert out == "".join(f"{score:.4f}  {word}\n" for word, score in wanted)
    out, _ = run(capsys, "neighbours", "t.kd", "w3", "w4", "--json")
    assert list(json.loads(out)) == ["w3", "w4"]
    assert "did you mean 'w29'" in refused(capsys, "neighbours", "t.kd", "w229")
    save(Path("rows.kd"), KD, words=False)
    assert run(capsys, "neighbours", "rows.kd", "7", "--topn", "1")[0]
    assert "row must be from 0 to 29, got '30'" in refused(capsys, "neighbours", "rows.kd", "30")


@pytest.mark.parametrize("kind", ["kd", "uniform"])
def test_new_words_join(kind, here, capsys):
    save(Path("v.kd"), KD if kind == "kd" else {"kind": "uniform", "bits": 4})
    v = CompressedVectors.load("v.kd")
    rows = zip(["w3", "new york", "x"], v[["w9", "w4", "w5"]].tolist(), strict=True)
    Path("more.vec").write_text(
        f"3 {DIM}\n" + "".join(f"{word} {' '.join(map(repr, row))}\n" for word, row in rows)
    )
    out, err = run(capsys, "encode", "v.kd", "more.vec", "--out", "larger.kd")
    assert err == "kdcore: note: 1 words are in v.kd and stay as they are there\n"
    assert out.startswith("larger.kd: 32 words, 2 of them new\nerror of the new words: 0.0")
    grown = CompressedVectors.load("larger.kd")
    torch.testing.assert_close(grown["w3"], v["w3"])
    torch.testing.assert_close(grown["x"], v["w5"], rtol=0, atol=0.1)
    found = refused(capsys, "encode", "larger.kd", "more.vec", "--out", "o.kd")
    assert found == "kdcore: more.vec: all of its words are in larger.kd"


def test_rows_join_a_table_without_words(here, capsys):
    save(Path("v.kd"), KD, words=False)
    np.save("more.npy", np.ones((2, DIM), np.float32))
    out, _ = run(capsys, "encode", "v.kd", "more.npy", "--out", "l.kd")
    assert "l.kd: 32 words, 2 of them new" in out
    assert "has no words, which the table has; give --words" in refused(
        capsys, "encode", "t.kd", "more.npy", "--out", "l.kd"
    )


@pytest.mark.parametrize("ending", [".txt", ".vec", ".bin", ".npy", ".safetensors"])
def test_vectors_go_to_other_tools(ending, here, capsys):
    out, _ = run(capsys, "export", "t.kd", "--to", f"o{ending}")
    assert out == f"o{ending}: {N} vectors of size {DIM}\n"
    v = CompressedVectors.load("t.kd")
    found = read_vectors(f"o{ending}").vectors
    torch.testing.assert_close(found, v[torch.arange(N)], rtol=1e-5, atol=1e-6)


# What is wrong


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("compress t.txt --out n.kd",
         "kdcore compress: one of the arguments --ratio --bits-per-word --size --max-error is "
         "required; see kdcore compress --help"),
        ("compress t.txt --ratio 0 --out n.kd",
         "kdcore compress: argument --ratio: must be a number above 0, got '0'; see kdcore "
         "compress --help"),
        ("compress t.txt --size big --out n.kd",
         "kdcore compress: argument --size: must be a size such as 10MB or 300kB, got 'big'; see "
         "kdcore compress --help"),
        ("neighbours t.kd w1 --topn 0",
         "kdcore neighbours: argument --topn: must be an integer above 0, got '0'; see kdcore "
         "neighbours --help"),
        ("compres t.txt", None),
        ("info", None),
    ],
)  # fmt: skip
def test_wrong_arguments_are_a_line_and_status_2(words, message, here, capsys):
    found = refused(capsys, *words.split(), status=2)
    assert message in (None, found)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("info no.kd", "kdcore: no.kd: no such file"),
        ("info t.txt", "kdcore: t.txt: damaged or not a safetensors file"),
        ("compress no.txt --ratio 8 --out n.kd", "kdcore: no.txt: no such file"),
        ("compress t.txt --ratio 8 --out .", "kdcore: .: is a folder, not a file"),
        ("compress t.txt --ratio 8 --out no/", "kdcore: no/: is a folder, not a file"),
        ("info .", "kdcore: .: is a folder, not a file"),
        ("compress t.txt --ratio 8 --out ./t.txt",
         "kdcore: ./t.txt: must be another file than the one that is read"),
        ("export t.kd --to o.doc", "kdcore: o.doc: ending must be one of .bin, "),
        ("evaluate t.kd --against t.txt --similarity no.tsv", "kdcore: no.tsv: No such file"),
        ("neighbours t.kd zebra", "kdcore: word 'zebra' is not in the table"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_a_line_and_status_1(words, message, here, capsys):
    assert refused(capsys, *words.split()).startswith(message)
    assert sorted(os.listdir()) == ["t.kd", "t.txt"]


def test_a_kind_that_takes_no_words_says_so(here, capsys):
    save(Path("h.kd"), {"kind": "hashed", "buckets": 5})
    Path("more.txt").write_text("new " + "1 " * DIM + "\n")
    message = refused(capsys, "encode", "h.kd", "more.txt", "--out", "l.kd")
    assert message == ("kdcore: HashedEmbedding takes no further rows; compress all of them anew")


def test_an_interrupted_command_leaves_nothing(here, capsys, rounding, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["kdcore.compressing"], "compress_table", stop)
    words = ("compress", "t.txt", "--ratio", "8", "--out", "n.kd")
    assert refused(capsys, *words, status=130) == "kdcore: interrupted"
    assert sorted(os.listdir()) == ["t.kd", "t.txt"]


# As a program


def test_help_is_there_before_pytorch():
    code = (
        "import sys; from kdcore.command import main; status = main(['--help']);"
        "assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "kdcore compress vectors.txt --ratio 20" in done.stdout


def test_the_program_is_called_by_its_name_and_says_its_version(capsys):
    done = subprocess.run(
        [sys.executable, "-m", "kdcore", "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("kdcore 0.")
    out, err = run(capsys, status=2)
    assert out == "" and "neighbours" in err


def test_a_reader_that_has_seen_enough_is_no_error(here):
    done = subprocess.run(
        f"{sys.executable} -m kdcore info t.kd | head -c 1", shell=True, capture_output=True
    )
    assert done.stderr == b"" and done.stdout == b"t"


@pytest.mark.parametrize(
    ("text", "size"),
    [("10MB", 1e7), ("300kB", 3e5), ("1.5 GB", 1.5e9), ("512", 512), ("2MiB", 2**21), ("7b", 7)],
)
def test_a_size_is_read_with_its_unit(text, size):
    assert byte_size(text) == size


def test_a_word_that_the_terminal_cannot_show_ends_nothing(here, monkeypatch):
    v = CompressedVectors.load("t.kd")
    words = [f"wö{i}" for i in range(N)]
    CompressedVectors(v.stored(), v.settings, words).save("o.kd")
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["neighbours", "o.kd", "wö0"]) == 0
    assert rb"w\xf6" in out.buffer.getvalue()


def test_nobody_need_listen(here, monkeypatch, rounding):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(["compress", "t.txt", "--ratio", "8", "--out", "n.kd"]) == 0
    assert main(["info", "no.kd"]) == 1


def test_neither_pipes_nor_devices_are_taken_for_files(here, capsys, rounding):
    os.mkfifo("pipe.txt")
    told = "kdcore: pipe.txt: is a pipe or a device, not a file"
    for words in (
        "compress t.txt --ratio 8 --out pipe.txt",
        "export t.kd --to pipe.txt",
        "evaluate t.kd --against t.txt --html pipe.txt",
        "compress pipe.txt --ratio 8 --out n.kd",
        "info pipe.txt",
    ):
        assert refused(capsys, *words.split()) == told
    with pytest.raises(KDError, match="is a pipe"):
        CompressedVectors.load("t.kd").save("pipe.txt")
    assert Path("pipe.txt").is_fifo()


def test_a_folder_that_takes_no_file_is_told_before_the_work(here, capsys, monkeypatch):
    monkeypatch.setattr("kdcore.compressed.compress", lambda *_, **__: pytest.fail("worked"))
    words = ["compress", "t.txt", "--ratio", "8", "--out"]
    below = f"{Path('t.txt').absolute()} is a file, not a folder"
    assert refused(capsys, *words, "t.txt/a/n.kd") == f"kdcore: cannot write t.txt/a/n.kd: {below}"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    told = f"kdcore: cannot write new/n.kd: nothing can be written in {Path.cwd()}"
    assert refused(capsys, *words, "new/n.kd") == told
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("words", "out"),
    [
        ("compress m.pt:a --words w --ratio 2 --out", "m.pt"),
        ("compress m.pt:a --words w --ratio 2 --out", "w"),
        ("encode t.kd m.pt:a --words w --out", "w"),
        ("evaluate t.kd --against m.pt:a --words w --html", "w"),
        ("evaluate t.kd --against t.txt --similarity w --html", "w"),
    ],
)
def test_no_file_that_is_read_is_written_over(words, out, here, capsys, rounding):
    torch.save({"a": torch.ones(3, DIM)}, "m.pt")
    Path("w").write_text("w1 w2 1\nw2 w3 2\nw3 w4 3\n")
    before = Path(out).read_bytes()
    _, err = run(capsys, *words.split(), out, status=1)
    assert err == f"kdcore: {out}: must be another file than the one that is read\n"
    assert Path(out).read_bytes() == before
