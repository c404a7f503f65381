"""What a preset's `compute` means on this machine."""

import os
from glob import glob

import torch

from kdlab.preset import Compute
from kdlab.training import Precision, has_bfloat16

# CUDA's, CUDA's on Windows' Linux, and ROCm's, which PyTorch calls cuda as well.
DEVICES = ("/dev/nvidia[0-9]*", "/dev/dxg", "/dev/kfd")


def gpu_here() -> bool:
    """Whether PyTorch sees a GPU; it is not asked where the system shows none."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not any(map(glob, DEVICES)):
        return False
    return torch.cuda.is_available()


def device_of(compute: Compute) -> str:
    """`cpu` or `cuda`; `auto` is a GPU where there is one."""
    if compute.device != "auto":
        return compute.device
    return "cuda" if gpu_here() else "cpu"


def precision_of(compute: Compute, device: str, model: str) -> Precision:
    """`bfloat16` for the models that ask for it, where the device has it; else `float32`.

    A GPU that is not here, of a cluster, is taken to have it; training says if it has not.
    """
    elsewhere = device == "cuda" and not gpu_here()
    if model in compute.bfloat16 and (elsewhere or has_bfloat16(torch.device(device))):
        return "bfloat16"
    return "float32"
