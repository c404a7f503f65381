"""A long compression goes on where it was killed, and is shared among machines."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from clustered import clustered_vectors

from kdcore import KDError, blocks, checkpoint, code_forms, forms
from kdcore.command import PROGRESS, main
from kdcore.compressing import compress_share, compress_table
from kdcore.forms import rounding

N, DIM = 700, 12
ASKED = {"ratio": 8, "forms": ["rounding", "additive"]}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A table is long, and work on it too: codes of six blocks, whose books a part teaches."""
    for module, values in {
        code_forms: {"LEAST_ROUNDS": 2, "MOST_ROUNDS": 2, "VALUES": (8, 16), "LEARNED_ROWS": 400},
        forms: {"TRIED_ROWS": 300, "HELD_OUT": 100},
        blocks: {"BLOCK": 128},
    }.items():
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(checkpoint, "PATIENCE", 0.0)


@pytest.fixture(scope="module")
def clustered() -> torch.Tensor:
    return clustered_vectors(N, DIM)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "v.kd.partial"


UNDISTURBED = []


@pytest.fixture
def wanted(clustered):
    """What comes of it undisturbed."""
    UNDISTURBED or UNDISTURBED.append(compress_table(clustered, **ASKED))
    return UNDISTURBED[0]


class Killed(Exception):
    """Stands in for what ends a process."""


def killing(what: str, times: int = 1):
    """A report that ends the work when something is told of for the so-manieth time."""
    left = times

    def report(told: str, share: float) -> None:
        nonlocal left
        left -= told.startswith(what)
        if not left:
            raise Killed

    return report


def kill(table, folder, what: str, times: int = 1, **options) -> None:
    with pytest.raises(Killed):
        compress_table(table, **options, checkpoint=folder, report=killing(what, times))


def same(found, wanted) -> bool:
    ours, theirs = (one.embedding.export() for one in (found, wanted))
    assert found.how == wanted.how
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


MOMENTS = [
    ("comparing forms", 1), ("comparing forms", 3), ("learning the books", 1),
    ("refining the books", 1), ("encoding", 1), ("encoding", 5), ("measuring the error", 2),
]  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_a_killed_compression_continues_to_the_same_bytes(clustered, wanted, moment, folder):
    kill(clustered, folder, *moment, **ASKED)
    with pytest.warns(UserWarning, match="continuing") as said:
        assert same(compress_table(clustered, **ASKED, checkpoint=folder), wanted)
    assert len(said) == 1
    checkpoint.remove_checkpoint(folder)
    assert not folder.exists()


def test_a_killed_search_for_an_error_continues_to_the_same_bytes(clustered, folder):
    asked = {"max_error": 0.3, "forms": ["additive"]}
    wanted = compress_table(clustered, **asked)
    kill(clustered, folder, "comparing forms", 5, **asked)
    with pytest.warns(UserWarning, match="continuing"):
        kill(clustered, folder, "encoding", 3, **asked)
    with pytest.warns(UserWarning, match="continuing"):
        assert same(compress_table(clustered, **asked, checkpoint=folder), wanted)


def test_killed_again_and_again_it_comes_to_an_end(clustered, wanted, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for moment in MOMENTS:
            # At each moment but the last, more of the work is there than at the one before.
            kill(clustered, folder, *(moment if moment[0] != "encoding" else ("encoding", 1)),
                 **ASKED)  # fmt: skip
        assert same(compress_table(clustered, **ASKED, checkpoint=folder), wanted)


def test_what_was_done_is_not_done_again(clustered, folder, monkeypatch):
    kill(clustered, folder, "encoding", 4, **ASKED)
    done = []
    for name in ("_learn", "_refined"):
        monkeypatch.setattr(code_forms, name, lambda *_, name=name, **__: done.append(name))
    for form in (code_forms.CodeForm, rounding.Levels):
        monkeypatch.setattr(form, "sketch", lambda *_: done.append("sketch"))
    encoder = code_forms.Encoder
    encoded = encoder.__call__
    monkeypatch.setattr(encoder, "__call__", lambda *a: (done.append(len(a[1])), encoded(*a))[1])
    with pytest.warns(UserWarning, match="forms compared, 4 blocks encoded"):
        compress_table(clustered, **ASKED, checkpoint=folder)
    assert sorted(done) == [N % 128, 128]


@pytest.mark.parametrize(
    "change",
    [
        {"ratio": 7}, {"seed": 1}, {"forms": ["additive"]}, {"counts": torch.arange(N)},
        {"table": "one number"}, {"table": "fewer rows"},
    ],
    ids=str,
)  # fmt: skip
def test_another_compression_does_not_take_it_over(clustered, change, folder):
    options = {**ASKED, **change}
    table = clustered.clone()
    if options.pop("table", None) == "one number":
        table[N - 1, 3] += 1e-4
    elif "table" in change:
        table = table[:-1]
    kill(clustered, folder, "encoding", 3, **ASKED)
    wanted = compress_table(table, **options)
    with pytest.warns(UserWarning, match="of another table, target, seed or version; begun afresh"):
        assert same(compress_table(table, **options, checkpoint=folder), wanted)
    # What is there now is of this one alone.
    with pytest.warns(UserWarning, match="continuing; .* 6 blocks encoded"):
        assert same(compress_table(table, **options, checkpoint=folder), wanted)


@pytest.mark.parametrize("part", ["compression.json", "part-learned", "part-refined", "part-codes"])
@pytest.mark.parametrize("damage", [b"{}", None])
def test_what_is_damaged_is_a_line_and_made_anew(clustered, wanted, part, damage, folder):
    kill(clustered, folder, "encoding", 3, **ASKED)
    file = next(folder.glob(f"{part}*"))
    file.write_bytes(file.read_bytes()[:-3] if damage is None else damage)
    with pytest.warns(UserWarning) as said:
        assert same(compress_table(clustered, **ASKED, checkpoint=folder), wanted)
    lines = [str(warning.message) for warning in said if "continuing" not in str(warning.message)]
    assert len(lines) == 1 and f"{file}: damaged" in lines[0] and "\n" not in lines[0]


def test_work_of_seconds_leaves_no_trace(clustered, folder, monkeypatch):
    monkeypatch.setattr(checkpoint, "PATIENCE", 30.0)
    compress_table(clustered, **ASKED, checkpoint=folder)
    assert not folder.exists()


def test_a_file_in_its_place_is_refused(clustered, folder):
    folder.write_text("mine")
    with pytest.raises(KDError, match="is a file, not the folder of a checkpoint"):
        compress_table(clustered, **ASKED, checkpoint=folder)


@pytest.mark.parametrize("begun", [False, True])
def test_what_is_not_of_a_checkpoint_stays(clustered, tmp_path, begun):
    (tmp_path / "vectors.safetensors").touch()
    if begun:
        kill(clustered, tmp_path, "encoding", 3, **ASKED)
        assert len(os.listdir(tmp_path)) > 3
    checkpoint.remove_checkpoint(tmp_path)
    assert os.listdir(tmp_path) == ["vectors.safetensors"]


@pytest.mark.parametrize("ratio", [8, 5])
def test_shares_of_several_machines_are_what_one_machine_makes(clustered, ratio, folder):
    """Of codes, in blocks, and of a form that has none."""
    asked = ASKED | {"ratio": ratio}
    wanted = compress_table(clustered, **asked)
    done: list[str] = []

    def told(what: str, share: float) -> None:
        done.append(what)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for share in (None, 2, 0, 1):
            compress_share(clustered, share, 3, checkpoint=folder, **asked)
        assert same(compress_table(clustered, **asked, checkpoint=folder, report=told), wanted)
    assert "encoding" not in done
    with pytest.raises(KDError, match="share must be from 0 to 2, got 3"):
        compress_share(clustered, 3, 3, checkpoint=folder, **asked)


def test_the_command_continues_and_clears_up(clustered, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("t.npy", clustered.numpy())
    words = ["compress", "t.npy", "--ratio", "8", "--form", "additive", "--out"]
    assert main([*words, "whole.kd"]) == 0

    def interrupt(what: str, share: float = 0.0) -> None:
        if what == "encoding" and share > 0.4:
            raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(type(PROGRESS), "__call__", lambda _, *told: interrupt(*told))
        assert main([*words, "v.kd"]) == 130
    assert sorted(os.listdir()) == ["t.npy", "v.kd.partial", "whole.kd"]
    capsys.readouterr()
    assert main([*words, "v.kd"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("kdcore: note: v.kd.partial: continuing; ") and err.count("\n") == 1
    assert "\ntook: " in out
    assert Path("v.kd").read_bytes() == Path("whole.kd").read_bytes()
    assert sorted(os.listdir()) == ["t.npy", "v.kd", "whole.kd"]
