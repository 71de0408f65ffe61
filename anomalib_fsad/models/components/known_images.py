# SPDX-License-Identifier: Apache-2.0
"""What an image looks like as a whole, beside where it looks strange.

A student's distances are small where there is little to describe, so an image with less texture than any normal one, a
hazy fundus, say, scores as normal; and the longer a student trains, the more so. The teacher's features of the whole
image tell such an image apart: they are unlike those of every image that was trained on.
"""

from collections.abc import Iterable, Sequence

import torch
from anomalib.models.components import DynamicBufferMixin
from torch import Tensor, nn

from anomalib_fsad.models.components.anomaly_map import in_float32

SMALLEST = 1e-6


class KnownImages(DynamicBufferMixin, nn.Module):
    """The images trained on, each as the mean and the deviation of every channel of the teacher's maps.

    Example:
        >>> import torch
        >>> images = KnownImages()
        >>> images.remember([[torch.rand(8, 4, 6, 6)]])
        >>> images.strangeness([torch.rand(2, 4, 6, 6)]).shape
        torch.Size([2])
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: Tensor
        self.spread: Tensor
        self.usual: Tensor
        for name in ("known", "spread", "usual"):  # N x D, D and 1; empty until images are remembered
            self.register_buffer(name, torch.empty(0))

    @torch.no_grad()
    def remember(self, batches: Iterable[Sequence[Tensor]]) -> None:
        """Take the images that are trained on in place of any before.

        Args:
            batches: each the teacher's maps of some images, B x C_s x h_s x w_s.

        Raises:
            ValueError: if there are fewer than two images.
        """
        described = torch.cat([describe(levels) for levels in batches])
        if len(described) < 2:  # noqa: PLR2004
            msg = "image_features compares images with those trained on, and needs two of these or more."
            raise ValueError(msg)
        # One size for all channels would let the strongest decide alone.
        self.spread = described.std(dim=0).clamp_min(SMALLEST)
        self.known = described / self.spread
        apart = torch.cdist(self.known, self.known).fill_diagonal_(torch.inf).amin(dim=1)
        self.usual = (apart / self.known.shape[1] ** 0.5).mean().clamp_min(SMALLEST).view(1)

    def strangeness(self, levels: Sequence[Tensor]) -> Tensor:
        """How far images are from the nearest known one; 1 is what these have among one another: B.

        Args:
            levels: the teacher's maps, B x C_s x h_s x w_s.
        """
        if len(self.known) == 0:
            msg = "image_features has no images to compare with: fit the model, or load a checkpoint."
            raise ValueError(msg)
        return _distance(describe(levels), self.known, self.spread) / self.usual


@in_float32
def describe(levels: Sequence[Tensor]) -> Tensor:
    """The mean and the deviation of each channel over the places of each level: B x D."""
    parts = []
    for maps in levels:
        mean = maps.mean(dim=(2, 3))
        parts += [mean, (maps - mean[:, :, None, None]).square().mean(dim=(2, 3)).sqrt()]
    return torch.cat(parts, dim=1)


@in_float32
def _distance(images: Tensor, known: Tensor, spread: Tensor) -> Tensor:
    """To the nearest row: found by a matrix product, and measured by the difference, which does not cancel."""
    images = images / spread
    row = (images @ known.T - known.square().sum(dim=1) / 2).argmax(dim=1)
    return (images - known.index_select(0, row)).square().mean(dim=1).sqrt()
