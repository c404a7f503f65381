"""DVC's remote on S3, against a local server: what a run made travels to a fresh clone."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from project_copy import commit, planned, prepare, results, run

pytestmark = pytest.mark.s3


@pytest.fixture
def bucket(tmp_path, monkeypatch) -> Iterator[str]:
    """The address of a server with an empty bucket named kdcode."""
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(tmp_path / "server.log", "w") as log:
        server = subprocess.Popen(
            [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        address = f"http://127.0.0.1:{port}"
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="kdcode")
        yield address
    finally:
        server.terminate()
        server.wait()


def test_a_fresh_clone_pulls_a_finished_run(bucket, tmp_path):
    project = prepare(tmp_path / "project")
    run(project, "dvc", "repro")
    run(project, "dvc", "remote", "add", "--default", "lab", "s3://kdcode/runs")
    run(project, "dvc", "remote", "modify", "lab", "endpointurl", bucket)
    commit(project, "A")
    run(project, "dvc", "push")

    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(project), str(clone))
    run(clone, "dvc", "pull")
    assert results(clone) == results(project)
    assert "up to date" in run(clone, "dvc", "status")
    assert "up to date" in run(clone, "dvc", "repro", "--dry")
    assert planned(clone) == {}
