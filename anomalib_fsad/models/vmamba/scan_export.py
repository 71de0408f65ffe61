# SPDX-License-Identifier: Apache-2.0
"""The selective scan as one operator: what ``torch.export`` sees instead of its many steps."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalib_fsad.models.vmamba.scan_tiled import scan_tiled
from anomalib_fsad.models.vmamba.walks import Walks

TILE = 8
"""Steps in an iteration of the exported loop. More cost nodes and gain little."""


@torch.library.custom_op("anomalib_fsad::selective_scan", mutates_args=())
def scan_operator(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """``scan_tiled``, opaque; u, delta, y: B L K D; A: K N D; B, C: B L K N."""
    u, delta, B, C = (x.permute(0, 2, 3, 1) for x in (u, delta, B, C))
    return scan_tiled(u, delta, A.transpose(1, 2), B, C).permute(0, 3, 1, 2).contiguous()


@scan_operator.register_fake
def _(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    del delta, A, B, C
    return torch.empty_like(u, memory_format=torch.contiguous_format)


def scan_exported(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The operator in the shapes of ``scan.py``."""
    u, delta, B, C = (x.permute(0, 3, 1, 2) for x in (u, delta, B, C))
    return _in_whole_tiles(u, delta, A.transpose(1, 2), B, C).permute(0, 2, 3, 1)


def scan_walks_exported(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor, walks: Walks
) -> Tensor:
    """As ``scan_native.scan_walks``: u: B L D; delta: B K L D; B, C: B L K N.

    Rows of D numbers are gathered into the order of the steps, and back, so that nothing need be transposed.
    """
    positions = walks.positions
    K, length = positions.shape
    k = torch.arange(K, device=u.device).unsqueeze(1)

    def along(sequence: Tensor, rows: Tensor) -> Tensor:
        return sequence.index_select(1, rows.t().flatten()).unflatten(1, (length, K))

    delta = softplus(delta + delta_bias.unsqueeze(1))
    y = _in_whole_tiles(
        along(u, positions),
        along(delta.flatten(1, 2), positions + length * k),
        A.transpose(1, 2),
        along(B.flatten(1, 2), positions * K + k),
        along(C.flatten(1, 2), positions * K + k),
    )  # B L K D
    y = y.flatten(1, 2).index_select(1, (walks.steps * K + k).flatten()).unflatten(1, (K, length))
    return y.sum(1) + D.sum(0) * u


def softplus(x: Tensor) -> Tensor:
    """``F.softplus``, with small results as exact as large ones.

    OpenVINO's own loses them, and ONNX Runtime's goes number by number. ``log(1 + e^x) = max(x, 0) + log1p(e)`` with
    ``e = e^-|x|``, and ``log1p(e) = 2 artanh(s)`` with ``s = e / (2 + e)``: a series in s^2 <= 1/9.
    """
    e = torch.exp(-x.abs())
    s = e / (e + 2)
    square = s * s
    series = square / 15 + 1 / 13
    for n in (11, 9, 7, 5, 3, 1):
        series = series * square + 1 / n
    return torch.relu(x) + 2 * s * series


def _in_whole_tiles(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    length = u.shape[1]
    missing = -length % TILE
    if missing:  # steps without delta leave the state alone
        u, delta, B, C = (F.pad(x, (0, 0, 0, 0, 0, missing)) for x in (u, delta, B, C))
    y = scan_operator(u, delta, A, B, C)
    return y[:, :length] if missing else y


def onnx_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For ``torch.onnx.export(custom_translation_table=...)``."""
    from anomalib_fsad.models.vmamba.scan_onnx import onnx_selective_scan

    return {torch.ops.anomalib_fsad.selective_scan.default: onnx_selective_scan}
