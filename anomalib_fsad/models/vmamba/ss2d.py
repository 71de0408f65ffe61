# SPDX-License-Identifier: Apache-2.0
"""SS2D, VMamba's mixing layer: the selective scan along four walks over the plane."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalib_fsad.models.vmamba.scan import selective_scan
from anomalib_fsad.models.vmamba.scan_native import WalkScan, may_run_native, native_scan
from anomalib_fsad.models.vmamba.walks import Walks

DIRECTIONS = 4


class SS2D(nn.Module):
    """A gated selective scan of a feature map in four directions.

    Args:
        channels: width C of the map; the scan runs at D = 2 C.
        states: N, the states of each channel.

    Example:
        >>> import torch
        >>> SS2D(8)(torch.zeros(1, 6, 5, 8)).shape
        torch.Size([1, 6, 5, 8])
    """

    def __init__(self, channels: int, states: int = 16) -> None:
        super().__init__()
        inner = 2 * channels
        self.rank = math.ceil(channels / 16)
        self.states = states
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, kernel_size=3, padding=1, groups=inner)
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, channels, bias=False)
        # The names and shapes of the released checkpoints.
        bound = self.rank**-0.5
        self.x_proj_weight = nn.Parameter(_uniform((DIRECTIONS, self.rank + 2 * states, inner), inner**-0.5))
        self.dt_projs_weight = nn.Parameter(_uniform((DIRECTIONS, inner, self.rank), bound))
        self.dt_projs_bias = nn.Parameter(_inverse_softplus_of_log_uniform((DIRECTIONS, inner), 1e-3, 1e-1))
        self.A_logs = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(DIRECTIONS * inner, 1))  # KD N
        self.Ds = nn.Parameter(torch.ones(DIRECTIONS * inner))

    def forward(self, x: Tensor) -> Tensor:
        """B H W C -> B H W C."""
        x, z = self.in_proj(x).chunk(2, dim=-1)  # B H W D each
        x = F.silu(self.conv2d(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        y = self.out_norm(self.scan(x))
        return self.out_proj(y * F.silu(z))

    def scan(self, x: Tensor) -> Tensor:
        """The sum of the scans along the four walks: B H W D -> B H W D."""
        kernel = walk_scan(x, *self.parameters())
        return self._scan_by_position(x, kernel) if kernel else self._scan_by_walk(x)

    def _scan_by_position(self, x: Tensor, kernel: WalkScan) -> Tensor:
        """Everything lies as the plane does; the kernel does the walking."""
        batch, height, width, inner = x.shape
        u = x.reshape(batch, height * width, inner)
        projected = F.linear(u, self.x_proj_weight.flatten(0, 1)).unflatten(-1, (DIRECTIONS, -1))  # B L K (R + 2N)
        dt, B, C = projected.split([self.rank, self.states, self.states], dim=-1)
        delta = torch.matmul(dt.transpose(1, 2), self.dt_projs_weight.transpose(1, 2))  # B K L D
        y = kernel(u, delta, self._rates(), B, C, self._skip(), self.dt_projs_bias, Walks.over(height, width, x.device))
        return y.to(x.dtype).view_as(x)

    def _scan_by_walk(self, x: Tensor) -> Tensor:
        batch, height, width, inner = x.shape
        rows = x.reshape(batch, height * width, inner)
        columns = x.transpose(1, 2).reshape(batch, height * width, inner)
        walks = torch.stack([rows, columns, rows.flip(1), columns.flip(1)], dim=1)  # B K L D
        projected = torch.matmul(walks, self.x_proj_weight.transpose(1, 2))  # B K L (R + 2N)
        dt, B, C = projected.split([self.rank, self.states, self.states], dim=-1)
        delta = torch.matmul(dt, self.dt_projs_weight.transpose(1, 2))  # B K L D
        y = selective_scan(
            walks.transpose(2, 3),
            delta.transpose(2, 3),
            self._rates(),
            B.transpose(2, 3),
            C.transpose(2, 3),
            delta_bias=self.dt_projs_bias,
        ).transpose(2, 3)  # B K L D
        along_rows = y[:, 0] + y[:, 2].flip(1)
        along_columns = (y[:, 1] + y[:, 3].flip(1)).reshape(batch, width, height, inner)
        y = along_rows.reshape(batch, height, width, inner) + along_columns.transpose(1, 2)
        # The walks meet at each position: four times D u there is once their sum.
        return y + (self._skip().sum(0) * x).to(y.dtype)

    def _rates(self) -> Tensor:
        """A: K D N."""
        return -self.A_logs.exp().view(DIRECTIONS, -1, self.states)

    def _skip(self) -> Tensor:
        """D: K D."""
        return self.Ds.view(DIRECTIONS, -1)


def walk_scan(*tensors: Tensor) -> WalkScan | None:
    """What scans a plane along all walks at once, where there is such a thing."""
    if torch.compiler.is_exporting():
        from anomalib_fsad.models.vmamba.scan_export import scan_walks_exported

        return scan_walks_exported
    return native_scan() if may_run_native(*tensors) else None


def _uniform(shape: tuple[int, ...], bound: float) -> Tensor:
    return torch.empty(shape).uniform_(-bound, bound)


def _inverse_softplus_of_log_uniform(shape: tuple[int, ...], low: float, high: float) -> Tensor:
    delta = torch.empty(shape).uniform_(math.log(low), math.log(high)).exp()
    return delta + torch.log(-torch.expm1(-delta))
