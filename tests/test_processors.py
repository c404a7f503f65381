"""Numerics under the instruction sets that a processor may lack, as PyTorch's libraries choose."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What computes: the rest reads, writes and draws.
MODULES = (
    "test_embedding", "test_transforms", "test_lstm", "test_products", "test_language_model",
    "test_learning", "test_training", "test_encoding", "test_rounding", "test_golden",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "instructions",
    [
        {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
        {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
        {"MKL_CBWR": "COMPATIBLE"},
    ],
    ids=lambda instructions: " ".join(f"{k}={v}" for k, v in instructions.items()),
)
def test_the_numerics_hold_with_fewer_instructions(instructions):
    files = [f"tests/{name}.py" for name in MODULES]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-x", *files],
        cwd=ROOT, env={**os.environ, **instructions}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
