from fnmatch import fnmatch

import pytest
import torch

from kdlab import compute
from kdlab.experiment import Compute


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


def test_bfloat16_is_for_the_models_that_ask_for_it_where_the_device_has_it(gpu, monkeypatch):
    asked = Compute(device="auto", bfloat16=["large"])
    for here, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(compute, "has_bfloat16", lambda device, here=here: here)
        for device in ("cpu", "cuda"):
            assert compute.precision_of(asked, device, "large") == precision
            assert compute.precision_of(asked, device, "small") == "float32"


def test_a_gpu_of_a_cluster_is_taken_to_have_bfloat16(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(compute, "has_bfloat16", lambda device: False)
    asked = Compute(device="cuda", bfloat16=["large"])
    assert compute.precision_of(asked, "cuda", "large") == "bfloat16"
    assert compute.precision_of(asked, "cuda", "small") == "float32"
