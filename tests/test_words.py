"""Words as bytes and lengths."""

import os
import pickle
import random
import string
import subprocess
import sys

import pytest
import torch

from kdcore import KDError
from kdcore.words import LENGTHS, TEXT, RowNumbers, Words

ODD = ["the", "", " ", "new york", "a\nb", "a\0b", "köln", "日本語", "\x85", "\ud800", "x" * 300]


def test_words_of_any_characters_come_back_from_tensors():
    words = Words(ODD)
    again = Words.of_tensors(words.tensors())
    assert list(again) == list(words) == ODD and again == words
    assert [again.index(word) for word in ODD] == list(range(len(ODD)))
    assert words[-1] == ODD[-1] and words[1:4] == ODD[1:4]
    assert words != Words(ODD[:-1])


def test_a_file_has_a_byte_a_length_where_words_are_short():
    tensors = Words(["a", "bcd"]).tensors()
    assert tensors[TEXT].numpy().tobytes() == b"abcd"
    assert tensors[LENGTHS].dtype == torch.uint8 and tensors[LENGTHS].tolist() == [1, 3]
    assert Words(["x" * 255, "y"]).tensors()[LENGTHS].dtype == torch.uint8
    assert Words(["x" * 256, "y"]).tensors()[LENGTHS].dtype == torch.int32


def test_the_rows_of_many_words_are_those_of_a_dictionary():
    draw = random.Random(0)
    listed = list({"".join(draw.choices(string.ascii_lowercase, k=4)) for _ in range(20_000)})
    words, rows = Words(listed), {word: row for row, word in enumerate(listed)}
    for word in draw.choices(listed, k=500):
        assert words.index(word) == rows[word] and word in words
    for _ in range(500):
        word = "".join(draw.choices(string.ascii_lowercase, k=4))
        assert words.find(word) == rows.get(word)
    assert 5 not in words


def test_words_whose_hashes_are_equal_are_told_apart(monkeypatch):
    monkeypatch.setattr("kdcore.words.hash", lambda text: len(text), raising=False)
    words = Words(["ab", "cd", "e"])
    assert [words.find(word) for word in ("ab", "cd", "e", "xy", "xyz")] == [0, 1, 2, None, None]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("kng", "word 'kng' is not in the table; did you mean 'king'?"),
        ("Paris", "word 'Paris' is not in the table; did you mean 'paris'?"),
        ("zzzz", "word 'zzzz' is not in the table"),
    ],
)
def test_an_unknown_word_names_the_nearest(word, message):
    with pytest.raises(KeyError) as refused:
        Words(["king", "paris", "queen"]).index(word)
    assert str(refused.value) == message


def test_a_row_that_is_none_and_words_that_are_twice_are_refused():
    with pytest.raises(TypeError, match="float"):
        Words(["a", "b"])[0.5]
    with pytest.raises(IndexError, match="row must be from 0 to 1, got 2"):
        Words(["a", "b"])[2]
    with pytest.raises(KDError, match="words must differ, got 'b' twice"):
        Words(["a", "b", "c", "b"])
    tensors = Words(["a", "b"]).tensors()
    with pytest.raises(KDError, match="words must have 1 bytes as stored, got 2"):
        Words.of_tensors({**tensors, TEXT: tensors[TEXT][:1]})


def test_rows_without_words_are_called_by_their_numbers():
    rows = RowNumbers(3)
    assert list(rows) == ["0", "1", "2"] and rows.index("2") == 2 and "3" not in rows
    assert rows[1:] == ["1", "2"]
    assert not [name for name in ("01", "٢", "-1", "1 ", "9" * 5000) if name in rows]
    with pytest.raises(KeyError, match="row must be from 0 to 2, got 'x'"):
        rows.index("x")


def test_words_are_found_in_another_process(tmp_path):
    (tmp_path / "words").write_bytes(pickle.dumps(Words(["king", "queen"])))
    find = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).find('queen'))"
    for seed in "01":  # of Python's hashes
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", find, tmp_path / "words"],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", 7], "words must be text, got 7"),
        ([b"a"], "words must be text, got b'a'"),
        ("words.txt", "words must be a list of them, one a row, got 'words.txt'"),
    ],
)
def test_what_is_no_list_of_words_is_refused(words, message):
    with pytest.raises(KDError) as refused:
        Words(words)
    assert str(refused.value) == message
