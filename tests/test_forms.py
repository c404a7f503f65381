"""Forms of a compressed table: every kind in `kdcore/forms` keeps the promises of all."""

import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from clustered import clustered_vectors

from kdcore import code_forms
from kdcore.compressing import FORMS
from kdcore.embeddings import EMBEDDINGS
from kdcore.forms import Form, Work, form_modules
from kdcore.size import FLOAT_BITS, stored_bits
from kdcore.vectors import relative_error

STRANGERS = '''"""The mean of all rows in place of each."""

from dataclasses import dataclass
from typing import ClassVar

from kdcore.embeddings import EMBEDDINGS
from kdcore.forms import Form

PLACE = 6


@dataclass(frozen=True)
class Mean(Form):
    SIMPLICITY: ClassVar[int] = 2

    def sketch(self, work):
        return work.learned.mean(0).expand_as(work.scored)

    def store(self, work):
        mean = sum(work.table.rows(block).sum(0) for block in work.table.blocks()) / work.table.N
        return {"weight": mean.repeat(work.table.N, 1).half()}


def candidates(N, dim, limit):
    settings = EMBEDDINGS.parse({"kind": "rounded", "bits": 16, "of": {"kind": "table"}})
    return [Mean("one mean", settings, 16 * N * dim)] if 16 * N * dim <= limit else []
'''
COMMAND = """
import torch
from kdcore.compressing import FORMS, compress_table
found = compress_table(torch.randn(300, 4), ratio=2, forms=["one-mean"])
print(FORMS[-1], found.how["chosen"], f"{found.how['error']:.2f}")
"""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Seconds, not minutes."""
    monkeypatch.setattr(code_forms, "LEAST_ROUNDS", 2)
    monkeypatch.setattr(code_forms, "MOST_ROUNDS", 2)


def made(name: str, N: int, dim: int, limit: int, book_bits: tuple[int, ...]) -> list[Form]:
    """Forms of a kind: all that are tried at once, and of each family the first."""
    module = form_modules()[name]
    if hasattr(module, "candidates"):
        return list(module.candidates(N, dim, limit))
    families = [module.families(N, dim, limit, bits) for bits in book_bits]
    return [family[0] for found in families for family in found.values()]


def test_kinds_are_files_in_an_order_of_their_own_with_one_way_to_be_tried():
    assert tuple(form_modules()) == FORMS and len(FORMS) > 4
    places = [module.PLACE for module in form_modules().values()]
    assert places == sorted(set(places))
    for name, module in form_modules().items():
        assert Path(module.__file__).stem == name.replace("-", "_")
        assert module.__doc__.strip()
        assert hasattr(module, "candidates") != hasattr(module, "families")


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("shape", [(50, 7), (1234, 13), (1234, 16)], ids=str)
def test_the_bits_of_a_form_are_within_the_limit_and_those_of_what_it_stores(name, shape):
    torch.manual_seed(0)
    work = Work(torch.randn(*shape))
    for each in (FLOAT_BITS, 6):
        limit = shape[0] * shape[1] * each
        for form in made(name, *shape, limit, (4, 16))[:4]:
            embedding = form.settings.module.load(form.settings, *shape, form.store(work))
            assert stored_bits(embedding.export()) == form.bits <= limit, form
            assert EMBEDDINGS.parse(form.settings.model_dump()) == form.settings
    assert made(name, *shape, 0, (4, 16)) == []


@pytest.mark.parametrize("name", FORMS)
def test_the_error_of_a_sketch_is_about_that_of_the_whole_table(name):
    N, dim = 600, 12
    vectors = clustered_vectors(N, dim)
    work = Work(vectors)
    found = made(name, N, dim, N * dim * 4, (4,))
    assert found
    for form in found[:4]:
        sketched = work.error(form.sketch(work))
        embedding = form.settings.module.load(form.settings, N, dim, form.store(work)).eval()
        error = relative_error(vectors, embedding(torch.arange(N)).detach())
        assert error <= 1.05 * sketched + 1e-6 and sketched < 2 * error + 1e-6, form


def test_a_strangers_form_is_one_file(tmp_path):
    library = Path(import_module("kdcore").__file__).parent
    shutil.copytree(library, tmp_path / "kdcore", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "kdcore/forms/one_mean.py").write_text(STRANGERS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", COMMAND], cwd=tmp_path, text=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    name, *chosen, error = done.stdout.split()
    assert name == "one-mean" and " ".join(chosen).startswith("one mean: error")
    assert float(error) == pytest.approx(1, abs=0.01)
