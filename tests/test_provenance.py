"""The commit beside a measurement is the project's own, or unknown and why."""

import subprocess

import pytest

from kdlab.provenance import commit


def git(folder, *words):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("one", encoding="utf-8")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    return tmp_path


def test_it_is_the_head_and_says_where_files_were_changed(repository):
    head = git(repository, "rev-parse", "--short=12", "HEAD")
    assert commit(repository) == head
    git(repository, "tag", "-a", "v1", "-m", "one")
    assert commit(repository) == head
    (repository / "file").write_text("two", encoding="utf-8")
    assert commit(repository) == f"{head}-dirty"


def test_the_commit_of_a_repository_around_the_project_is_not_taken(repository):
    (repository / "project").mkdir()
    found = commit(repository / "project")
    assert found == "unknown (the project is not a git repository of its own)"


def test_a_repository_of_another_user_and_none_give_the_reason(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert commit(repository).startswith("unknown (detected dubious ownership")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "alone").mkdir()
    assert commit(tmp_path / "alone").startswith("unknown (not a git repository")
    monkeypatch.setenv("PATH", str(tmp_path / "alone"))
    assert commit(repository) == "unknown (FileNotFoundError)"


def test_a_repository_without_a_commit_says_so(tmp_path):
    git(tmp_path, "init", "--quiet")
    assert commit(tmp_path) == "unknown (there is no commit)"
