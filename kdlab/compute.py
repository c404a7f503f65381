"""What a preset's `compute` means on this machine."""

import os
from glob import glob

from kdlab.preset import Compute

# CUDA's, CUDA's on Windows' Linux, and ROCm's, which PyTorch calls cuda as well.
DEVICES = ("/dev/nvidia[0-9]*", "/dev/dxg", "/dev/kfd")


def gpu_here() -> bool:
    """Whether PyTorch sees a GPU; it is not imported where the system shows none."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not any(map(glob, DEVICES)):
        return False
    import torch

    return torch.cuda.is_available()


def device_of(compute: Compute) -> str:
    """`cpu` or `cuda`; `auto` is a GPU where there is one."""
    if compute.device != "auto":
        return compute.device
    return "cuda" if gpu_here() else "cpu"


def precision_of(compute: Compute, device: str, size: str) -> str:
    """`bfloat16` for the sizes that ask for it, on a GPU; else `float32`."""
    return "bfloat16" if device == "cuda" and size in compute.bfloat16 else "float32"
