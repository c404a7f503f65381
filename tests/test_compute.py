import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch

from kdlab.preset import Compute
from workflow import compute

ROOT = Path(__file__).parent.parent


@pytest.fixture
def gpu(monkeypatch):
    """As on a machine with a GPU."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(compute, "glob", lambda pattern: ["/dev/nvidia0"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_auto_is_a_gpu_where_pytorch_sees_one(gpu, monkeypatch):
    assert compute.device_of(Compute(device="auto")) == "cuda"
    assert compute.device_of(Compute(device="cpu")) == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert compute.device_of(Compute(device="auto")) == "cpu"


@pytest.mark.parametrize("device", ["/dev/nvidia3", "/dev/dxg", "/dev/kfd"])
def test_a_gpu_shows_as_a_device(gpu, monkeypatch, device):
    monkeypatch.setattr(compute, "glob", lambda pattern: [device] * fnmatch(device, pattern))
    assert compute.gpu_here()


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_hidden_gpu_is_none(gpu, monkeypatch, hidden):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert compute.device_of(Compute(device="auto")) == "cpu"
    # What is asked for by name is not second-guessed: training says that there is none.
    assert compute.device_of(Compute(device="cuda")) == "cuda"


def test_where_the_system_shows_no_gpu_pytorch_is_not_imported():
    program = (
        "import sys\n"
        "from workflow import compute\n"
        "from kdlab.preset import Compute\n"
        "compute.glob = lambda pattern: []\n"
        "assert compute.device_of(Compute(device='auto')) == 'cpu'\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={}, check=True)


def test_bfloat16_is_for_the_sizes_that_ask_for_it_and_for_a_gpu():
    asked = Compute(device="auto", bfloat16=["large"])
    assert compute.precision_of(asked, "cuda", "large") == "bfloat16"
    assert compute.precision_of(asked, "cuda", "small") == "float32"
    assert compute.precision_of(asked, "cpu", "large") == "float32"
