# SPDX-License-Identifier: Apache-2.0
"""What export needs beyond anomalib: antialiased resizing that survives it.

anomalib switches antialiasing off in what it exports, so an image larger than the model's input scores differently
there. Antialiased bilinear resizing is linear along each axis: two matrix products, which every runtime computes alike.
"""

import torch
from anomalib.pre_processing.utils.transform import get_exportable_transform
from torch import Tensor
from torchvision.transforms.v2 import Compose, InterpolationMode, Normalize, Resize, Transform

ONNX_OPSET = 18
"""The lowest opset torch's exporter writes; anomalib's default, 14, ends in a failed conversion and a traceback."""


def antialiased_resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize B x C x H x W images as ``torchvision``'s ``Resize(size, antialias=True)`` does.

    Example:
        >>> import torch
        >>> antialiased_resize(torch.ones(1, 3, 50, 70), (32, 32)).shape
        torch.Size([1, 3, 32, 32])
    """
    height, width = images.shape[-2:]
    if isinstance(height, int) and isinstance(width, int) and (height, width) == size:
        return images  # known sizes alone: to compare a symbolic one would fix it
    rows = _resize_matrix(height, size[0], images)
    columns = _resize_matrix(width, size[1], images)
    return rows @ images @ columns.transpose(0, 1)


def _resize_matrix(n_in: int, n_out: int, like: Tensor) -> Tensor:
    """The n_out x n_in weights of a triangle filter as wide as the step between output pixels, but not under 1.

    In whole numbers as far as possible: what lies before a matrix product, OpenVINO may compute in bfloat16, whose
    places in an image of 1000 pixels are 4 pixels apart.
    """
    ones = torch.ones(n_in, dtype=torch.int64, device=like.device)
    # Sizes are made from a tensor, so that a traced one stays symbolic.
    size_in = ones.sum()
    source = (2 * ones.cumsum(0) - 1) * n_out
    centre = (2 * torch.arange(n_out, device=like.device) + 1) * size_in
    distance = (source[None, :] - centre[:, None]).abs()  # in units of 1 / (2 n_out) pixels
    weights = (2 * size_in.clamp(min=n_out) - distance).clamp(min=0)
    return weights.to(like.dtype) / weights.sum(dim=1, keepdim=True).to(like.dtype)


class ExactResize(Transform):
    """The exported stand-in of an antialiased ``Resize`` to a fixed size."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, *inputs: Tensor) -> Tensor:
        """Resize one batch of images."""
        return antialiased_resize(inputs[0], self.size)


def exact_export_transform(transform: Transform | None) -> Transform | None:
    """What anomalib would export for ``transform``, with the antialiasing put back."""
    if isinstance(transform, Compose):
        steps = [exact_export_transform(step) for step in transform.transforms]
        return Compose(_normalised_first(steps))
    if (
        isinstance(transform, Resize)
        and transform.antialias
        and InterpolationMode(transform.interpolation) == InterpolationMode.BILINEAR  # a plain str in some releases
        and transform.size is not None
        and len(transform.size) == 2  # noqa: PLR2004 - a size of one number keeps the aspect: left to anomalib
    ):
        return ExactResize((int(transform.size[0]), int(transform.size[1])))
    return get_exportable_transform(transform)


def _normalised_first(steps: list[Transform | None]) -> list[Transform | None]:
    """Normalise, then resize: the same, since the weights of a resize add up to 1.

    The other way round, and with a fixed input size, OpenVINO fuses the normalisation into the product before it, takes
    the product's last axis for the channels, and does not compile.
    """
    steps = list(steps)
    for i in range(len(steps) - 1):
        if isinstance(steps[i], ExactResize) and isinstance(steps[i + 1], Normalize):
            steps[i], steps[i + 1] = steps[i + 1], steps[i]
    return steps
