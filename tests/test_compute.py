from fnmatch import fnmatch

import pytest
import torch

from kdcore import KDError
from kdlab import compute, measuring
from kdlab.preset import Compute


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


@pytest.fixture
def full_gpu(monkeypatch):
    """A GPU of 10 GiB: what is free of it at each question, and work that takes 4 GiB."""
    free, asked = [], []

    def room(device):
        asked.append(free.pop(0) if len(free) > 1 else free[0])
        return asked[-1] * 2**30, 10 * 2**30

    def work():
        if not asked or asked[-1] < 4:
            raise torch.OutOfMemoryError
        return "trained"

    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 4 * 2**30)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", room)
    monkeypatch.setattr(measuring.time, "sleep", lambda seconds: None)
    return free, work


def test_a_model_for_which_a_gpu_is_too_full_waits_for_others_and_says_so(full_gpu, caplog):
    free, work = full_gpu
    free += [1, 1, 2, 5]
    with caplog.at_level("INFO", "kd"):
        assert measuring._with_room(work, "large, seed 1", "cuda", lambda: False) == "trained"
    assert caplog.messages == [
        "large, seed 1: the GPU is full; waiting until other models leave 4.0 of its 10.0 GiB"
    ]


def test_a_model_that_no_gpu_holds_or_that_is_stopped_while_it_waits_ends_in_one_line(full_gpu):
    free, work = full_gpu
    free.append(1)
    with pytest.raises(KDError, match="large: stopped; the same command continues"):
        measuring._with_room(work, "large", "cuda", lambda: True)
    free[:] = [9.8]
    with pytest.raises(KDError, match=r"large: the GPU is too small for it alone, it took 4.0 of"):
        measuring._with_room(_out_of_memory, "large", "cuda", lambda: False)


def _out_of_memory():
    raise torch.OutOfMemoryError
