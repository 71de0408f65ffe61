# SPDX-License-Identifier: Apache-2.0
"""The fused kernels against the recurrence: on a GPU as they are, on a CPU through Triton's interpreter."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from anomalib_fsad.models.vmamba.scan import scan_plain, selective_scan
from anomalib_fsad.models.vmamba.scan_gpu import gpu_scan, scan_mamba_ssm

# Triton decides at import whether it interprets, so this takes a process of its own. The packages are bare, since
# their own start imports anomalib, for which the kernel has no use.
INTERPRETED = """
import sys
import types

for name in ("anomalib_fsad", "anomalib_fsad.models", "anomalib_fsad.models.vmamba"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [sys.argv[1] + "/" + name.replace(".", "/")]

import torch
from anomalib_fsad.models.vmamba.scan import scan_plain
from anomalib_fsad.models.vmamba.scan_triton import scan_triton

torch.manual_seed(0)
cases = ((1, 1, 1, 16, 1, 8), (2, 2, 3, 5, 13, 4), (1, 4, 2, 16, 32, 8), (1, 1, 1, 4, 140, 128))
for batch, K, D, N, length, tile in cases:
    u, B, C = torch.randn(batch, K, length, D).transpose(2, 3), *torch.randn(2, batch, K, N, length)
    delta, A = 50 * torch.rand(batch, K, D, length) ** 8, -torch.randn(K, D, N).exp()
    y = scan_triton(u, delta, A, B, C, tile)
    deviation = (y - scan_plain(u, delta, A, B, C)).abs().max().item()
    assert deviation < 1e-4, (length, deviation)
print("same")
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with torch's CUDA builds only")
def test_kernel_in_the_interpreter():
    run = subprocess.run(
        [sys.executable, "-c", INTERPRETED, str(Path(__file__).parents[4])],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.strip() == "same"


def gpu_problem(length):
    torch.manual_seed(0)
    u, delta = torch.randn(2, 2, 4, 24, length, device="cuda")
    B, C = torch.randn(2, 2, 4, 16, length, device="cuda")
    return u, torch.nn.functional.softplus(delta), -torch.rand(4, 24, 16, device="cuda"), B, C


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("length", [1, 127, 1024])
def test_chosen_kernel_on_the_gpu(length):
    kernel = gpu_scan()
    assert kernel is not None, "torch's CUDA builds bring Triton along"
    inputs = gpu_problem(length)
    torch.testing.assert_close(kernel(*inputs), scan_plain(*inputs), atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(
    not torch.cuda.is_available() or find_spec("mamba_ssm") is None, reason="needs a CUDA device and mamba_ssm"
)
def test_mamba_ssm_on_the_gpu():
    inputs = gpu_problem(300)
    torch.testing.assert_close(scan_mamba_ssm(*inputs), scan_plain(*inputs), atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_is_cpu():
    inputs = gpu_problem(300)
    expected = selective_scan(*(tensor.cpu() for tensor in inputs))
    torch.testing.assert_close(selective_scan(*inputs).cpu(), expected, atol=1e-4, rtol=1e-4)
