# SPDX-License-Identifier: Apache-2.0
"""The first VMamba ("vanilla", v0): patches, four stages of SS2D blocks, patch merging between them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from anomalib_fsad.models.components import Remembering
from anomalib_fsad.models.vmamba.scan_export import onnx_translations
from anomalib_fsad.models.vmamba.ss2d import SS2D

PATCH = 4


@dataclass(frozen=True)
class Variant:
    """One row of the family."""

    depths: tuple[int, int, int, int]
    width: int
    url: str | None = None


VARIANTS = {
    "vmamba_tiny": Variant(
        depths=(2, 2, 9, 2),
        width=96,
        url="https://github.com/MzeroMiko/VMamba/releases/download/%23v0cls/vssmtiny_dp01_ckpt_epoch_292.pth",
    ),
    # No released weights: a small one for tests and trials.
    "vmamba_atto": Variant(depths=(1, 1, 1, 1), width=16),
}


class ToChannelsLast(nn.Module):
    """B C H W -> B H W C."""

    def forward(self, x: Tensor) -> Tensor:
        """Permute."""
        return x.permute(0, 2, 3, 1)


class Block(nn.Module):
    """``x + SS2D(LayerNorm(x))``; there is no MLP."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.op = SS2D(channels)

    def forward(self, x: Tensor) -> Tensor:
        """B H W C -> B H W C."""
        return x + self.op(self.norm(x))


class MergePatches(nn.Module):
    """The four pixels of each 2 x 2 square side by side; odd sizes are padded with zeros."""

    def forward(self, x: Tensor) -> Tensor:
        """B H W C -> B ceil(H/2) ceil(W/2) 4C."""
        if x.shape[1] % 2 or x.shape[2] % 2:
            x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        return torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], dim=-1)


class Stage(nn.Module):
    """SS2D blocks at one width, then, but in the last stage, patch merging to half the size and twice the width."""

    def __init__(self, depth: int, channels: int, *, last: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(channels) for _ in range(depth)))
        self.downsample = (
            nn.Identity()
            if last
            else nn.Sequential(
                MergePatches(), nn.LayerNorm(4 * channels), nn.Linear(4 * channels, 2 * channels, bias=False)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """B H W C -> B H/2 W/2 2C."""
        return self.downsample(self.blocks(x))


class VMamba(Remembering):
    """The outputs of the four stages, each behind its patch merging; inference only.

    Parameters are named as in the released checkpoints. For pre-trained weights see ``weights.load_vmamba``.

    Args:
        variant: a key of ``VARIANTS``.

    Example:
        >>> import torch
        >>> network = VMamba("vmamba_atto")
        >>> [tuple(z.shape) for z in network(torch.zeros(1, 3, 64, 64))]
        [(1, 32, 8, 8), (1, 64, 4, 4), (1, 128, 2, 2), (1, 128, 2, 2)]
    """

    def __init__(self, variant: str = "vmamba_tiny") -> None:
        super().__init__()
        if variant not in VARIANTS:
            msg = f"There is no VMamba variant {variant!r}; choose one of {sorted(VARIANTS)}."
            raise ValueError(msg)
        depths, width = VARIANTS[variant].depths, VARIANTS[variant].width
        widths = [width << stage for stage in range(len(depths))]
        self.channels = [*widths[1:], widths[-1]]
        self.levels = tuple(f"z{stage}" for stage in range(1, len(depths) + 1))
        self.kind = variant
        self.patch_embed = nn.Sequential(
            nn.Conv2d(3, width, kernel_size=PATCH, stride=PATCH), ToChannelsLast(), nn.LayerNorm(width)
        )
        self.layers = nn.ModuleList(
            Stage(depth, channels, last=channels == widths[-1]) for depth, channels in zip(depths, widths, strict=True)
        )

    onnx_translations = staticmethod(onnx_translations)
    mean, std = IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    @torch.no_grad()
    def look(self, images: Tensor) -> list[Tensor]:
        """B 3 H W, H and W multiples of 4 -> z1..z4, B C_i H_i W_i."""
        if images.shape[-2] % PATCH or images.shape[-1] % PATCH:
            size = tuple(images.shape[-2:])
            msg = f"VMamba cuts images into patches of {PATCH} x {PATCH} pixels: {size} is no multiple of that."
            raise ValueError(msg)
        x = self.patch_embed(images)
        outputs = []
        for stage in self.layers:
            x = stage(x)
            outputs.append(x.permute(0, 3, 1, 2))
        return outputs
