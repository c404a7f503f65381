import pytest
import torch

from kdcore import KDError, WordVectors
from kdcore.tensors import save_tensors
from kdlab.corpus import SPLITS, Corpus
from kdlab.texts import TEXTS
from kdlab.texts.ptb import SHA256, fetch_ptb


def write_splits(folder, **texts):
    files = {}
    for split in SPLITS:
        files[split] = folder / f"{split}.txt"
        files[split].write_text(texts.get(split, "a b\n"), encoding="utf-8")
    return files


def test_words_by_falling_frequency_and_eos_after_each_line(tmp_path):
    files = write_splits(tmp_path, train="b a b\nc b a\n", valid="c\n", test="a\n")
    corpus = Corpus.from_files(files)
    assert corpus.words == ("b", "<eos>", "a", "c")
    assert corpus.train.tolist() == [0, 2, 0, 1, 3, 0, 2, 1]
    assert corpus.valid.tolist() == [3, 1]
    assert torch.bincount(corpus.train).tolist() == [3, 2, 2, 1]


def test_unknown_words_become_unk(tmp_path):
    with pytest.warns(UserWarning, match="1 of [0-9]+ tokens of the valid and test"):
        corpus = Corpus.from_files(write_splits(tmp_path, valid="a zebra\n"))
    assert corpus.words[-1] == "<unk>"
    assert corpus.valid.tolist() == [corpus.words.index("a"), len(corpus.words) - 1, 0]
    with_unk = write_splits(tmp_path, train="a <unk> b\n", valid="zebra\n")
    corpus = Corpus.from_files(with_unk)
    assert corpus.words.count("<unk>") == 1
    assert corpus.valid[0] == corpus.words.index("<unk>")


def test_save_load_and_alteration(tmp_path, corpus):
    path = tmp_path / "corpus"
    corpus.save(path)
    loaded = Corpus.load(path)
    assert loaded.words == corpus.words and loaded.digest == corpus.digest
    assert all(torch.equal(getattr(loaded, s), getattr(corpus, s)) for s in SPLITS)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(KDError, match="altered"):
        Corpus.load(path)


@pytest.mark.parametrize(("kind", "load"), [("corpus", Corpus), ("word vectors", WordVectors)])
def test_a_file_that_lacks_something_is_told(tmp_path, kind, load):
    save_tensors(tmp_path / "file", {}, {"kind": kind, "words": []})
    with pytest.raises(KDError, match=r"damaged, '(train|vectors)' is missing"):
        load.load(tmp_path / "file")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"train": ""}, r"train\.txt: empty \(the train split\)"),
        ({"test": " \n\n"}, r"test\.txt: empty"),
    ],
)
def test_an_empty_split_is_told(tmp_path, texts, message):
    with pytest.raises(KDError, match=message):
        Corpus.from_files(write_splits(tmp_path, **texts))


def test_a_missing_or_binary_file_is_told(tmp_path):
    files = write_splits(tmp_path)
    files["valid"].write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KDError, match=r"valid\.txt, line 1: must be UTF-8 text, has the byte 0xff"):
        Corpus.from_files(files)
    files["valid"].write_bytes(b"a b\n" * 30_000 + "caf\xe9\n".encode("latin-1"))
    with pytest.raises(KDError, match=r"valid\.txt, line 30001: must be UTF-8 text, .* 0xe9"):
        Corpus.from_files(files)
    files["valid"].write_bytes(b"a b\na\0b\n")
    with pytest.raises(KDError, match=r"valid\.txt, line 2: must be text, has a NUL"):
        Corpus.from_files(files)
    files["valid"].unlink()
    with pytest.raises(KDError, match=r"valid\.txt: no such file"):
        Corpus.from_files(files)


@pytest.mark.parametrize("folder", ["~/plain", "~/plain/", "~/./plain"])
def test_the_home_and_a_trailing_slash_are_taken_as_meant(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "plain").mkdir()
    write_splits(tmp_path / "plain")
    settings = TEXTS.parse({"kind": "folder", "folder": folder}, "text")
    assert len(settings.module.read(settings).words) > 1
    by_name = {split: f"{folder}/{split}.txt" for split in ("train", "valid", "test")}
    files = TEXTS.parse({"kind": "files", **by_name}, "text")
    assert files.module.read(files).digest == settings.module.read(settings).digest


def test_a_blank_line_is_a_sentence_of_no_words(tmp_path):
    files = write_splits(tmp_path)
    before = len(Corpus.from_files(files).valid)
    files["valid"].write_text(files["valid"].read_text() + "\n\n")
    assert len(Corpus.from_files(files).valid) == before + 2


def test_an_end_of_line_that_is_written_already_is_told(tmp_path):
    with pytest.raises(KDError, match="the valid split has <eos>"):
        Corpus.from_files(write_splits(tmp_path, valid="a b <eos>\n"))


def test_a_byte_order_mark_is_no_word(tmp_path):
    files = write_splits(tmp_path)
    plain = Corpus.from_files(files)
    files["train"].write_bytes(b"\xef\xbb\xbf" + files["train"].read_bytes())
    assert Corpus.from_files(files).words == plain.words


def test_ptb_from_a_mirror_must_be_the_ptb(tmp_path):
    mirror = tmp_path / "mirror" / "ptb"
    mirror.mkdir(parents=True)
    (mirror / "ptb.train.txt").write_text("the cat\n")
    with pytest.raises(KDError, match=f"expected {SHA256['train']}"):
        fetch_ptb(tmp_path / "data", mirror.parent)
    assert not (tmp_path / "data" / "ptb.train.txt").exists()
