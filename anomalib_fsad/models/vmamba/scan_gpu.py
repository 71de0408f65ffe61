# SPDX-License-Identifier: Apache-2.0
"""Which fused kernel does the selective scan on a GPU: ``mamba_ssm``'s if installed, else ours in Triton, else none."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

from torch import Tensor

Scan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(u, delta, A, B, C) -> y, in the shapes of ``scan.py``."""


@cache
def gpu_scan() -> Scan | None:
    """The fastest kernel that is installed; torch's CUDA builds bring Triton along."""
    if find_spec("mamba_ssm") is not None:
        return scan_mamba_ssm
    if find_spec("triton") is not None:
        from anomalib_fsad.models.vmamba.scan_triton import scan_triton

        return scan_triton
    return None


def scan_mamba_ssm(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The kernel of the ``mamba_ssm`` package, which wants K and D as one axis."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    y = selective_scan_fn(u.flatten(1, 2), delta.flatten(1, 2), A.flatten(0, 1), B.contiguous(), C.contiguous())
    return y.view_as(u)
