# SPDX-License-Identifier: Apache-2.0
"""The selective scan as one operator: what ``torch.export`` sees instead of its many steps."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from anomalib_fsad.models.vmamba.scan import scan_chunked


@torch.library.custom_op("anomalib_fsad::selective_scan", mutates_args=())
def scan_operator(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """``scan_chunked``, opaque."""
    return scan_chunked(u, delta, A, B, C).contiguous()


@scan_operator.register_fake
def _(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    del delta, A, B, C
    return torch.empty_like(u, memory_format=torch.contiguous_format)


def onnx_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For ``torch.onnx.export(custom_translation_table=...)``."""
    from anomalib_fsad.models.vmamba.scan_onnx import onnx_selective_scan

    return {torch.ops.anomalib_fsad.selective_scan.default: onnx_selective_scan}
