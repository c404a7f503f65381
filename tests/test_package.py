"""Files of installed distributions: word vectors, and pairs of words."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kdcore import KDError
from kdcore.files import sha256
from kdcore.vectors import WordVectors
from kdlab.addresses import identity
from kdlab.installed import InstalledFile, find_installed
from kdlab.vectors import VECTORS, VectorInputs

TABLE = np.arange(40, dtype=np.float32).reshape(20, 2)


def distribution(site: Path) -> None:
    """A distribution as pip leaves it."""
    (site / "some_vectors").mkdir()
    np.save(site / "some_vectors/table.npy", TABLE)
    tensors = {"a.weight": torch.tensor(TABLE), "b.weight": torch.ones(3, 4)}
    save_file(tensors, site / "some_vectors/two.safetensors")
    WordVectors(("the", "cat"), torch.eye(2)).save(site / "some_vectors/words.safetensors")
    about = site / "some_vectors-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: some-vectors\nVersion: 1.0\n")


@pytest.fixture
def section(tmp_path, monkeypatch):
    """Settings of a file of it."""
    distribution(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def of(file: str, **more):
        place = {"distribution": "some-vectors", "version": "1.0", "file": f"some_vectors/{file}"}
        return {"kind": "package", **place, "sha256": sha256(tmp_path / place["file"]), **more}

    return of


def read(section: dict) -> WordVectors:
    settings = VECTORS.parse(section)
    return settings.module.read(settings, VectorInputs())


def test_rows_without_words_are_called_by_their_numbers(section):
    found = read(section("table.npy"))
    assert found.words == tuple(map(str, range(20)))
    assert np.array_equal(found.vectors.numpy(), TABLE)
    assert torch.equal(read(section("table.npy", words=3)).vectors, found.vectors[:3])


def test_the_words_of_a_file_that_has_some_are_kept(section):
    assert read(section("words.safetensors")).words == ("the", "cat")
    assert read(section("words.safetensors", words=1)).words == ("the",)


def test_a_tensor_of_several_is_named(section):
    found = read(section("two.safetensors", tensor="a.weight"))
    assert np.array_equal(found.vectors.numpy(), TABLE)
    with pytest.raises(KDError, match="holds 2 tables; name one"):
        read(section("two.safetensors"))
    with pytest.raises(KDError, match="tensor 'c' is unknown"):
        read(section("two.safetensors", tensor="c"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distribution": "no-such-vectors"},
         "no-such-vectors 1.0 must be installed: pip install --no-deps no-such-vectors==1.0"),
        ({"version": "2.0"}, "some-vectors 2.0 must be installed, got version 1.0: pip install "
         "--no-deps some-vectors==2.0"),
        ({"distribution": ""}, " 1.0 must be installed"),
        ({"file": "some_vectors/tabel.npy"}, "some-vectors 1.0 has no file some_vectors/tabel.npy"),
        ({"sha256": "0" * 64}, f"table.npy has SHA-256 .*, expected {'0' * 64}"),
        ({"sha256": "0"}, "sha256 must match"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_there_is_one_line(section, change, message):
    with pytest.raises(KDError, match=message) as refused:
        read({**section("table.npy"), **change})
    assert "\n" not in str(refused.value)


def test_its_bytes_are_part_of_an_address_and_its_place_is_not(section):
    def spec(**change):
        settings = VECTORS.parse({**section("table.npy"), **change})
        return identity(settings, settings.places)

    same = spec(distribution="others", version="2", file="other.npy")
    assert spec() == same and spec()["sha256"]
    for change in ({"sha256": "1" * 64}, {"tensor": "a"}, {"words": 3}):
        assert spec(**change) != same


def test_a_file_is_found_where_it_was_installed(section, tmp_path):
    values = {k: v for k, v in section("table.npy").items() if k != "kind"}
    assert find_installed(InstalledFile(**values)) == tmp_path / "some_vectors/table.npy"
