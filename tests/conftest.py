"""Shared fixtures: one thread, no GPU, a small corpus, a small model."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from kdlab.corpus import Corpus
from kdlab.language_model_settings import LanguageModelSettings

torch.set_num_threads(1)
pytest.register_assert_rewrite("project_copy")


def pytest_configure(config):
    # A GPU that happens to be here is hidden: what is tested must not depend on it.
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def corpus() -> Corpus:
    lines = [f"the cat {word} on mat {i % 7}" for i, word in enumerate(["sat", "lay", "ran"] * 60)]
    return Corpus.from_lines({"train": lines, "valid": lines[:20], "test": lines[20:45]})


@pytest.fixture
def settings() -> LanguageModelSettings:
    return LanguageModelSettings(
        hidden=12, layers=2, init_scale=0.1, dropout=0.2, batch_size=4, bptt=5, learning_rate=1.0,
        full_rate_epochs=1, decay=0.5, epochs=3, max_grad_norm=5.0,
    )  # fmt: skip


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id) -> Path:
    """A copy of the project in which `all` of the smallest preset has been run, once for all."""
    from project_copy import copy_project, succeed

    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    with FileLock(shared / "finished.lock"):
        project = shared / "finished"
        if not (shared / "finished.done").exists():
            shutil.rmtree(project, ignore_errors=True)
            copy_project(project)
            succeed(project, "all")
            (shared / "finished.done").touch()
    return project


@pytest.fixture
def project(finished, tmp_path) -> Path:
    """A copy of `finished` to change."""
    target = tmp_path / "project"
    shutil.copytree(finished, target)
    return target
