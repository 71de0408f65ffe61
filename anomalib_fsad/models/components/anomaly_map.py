# SPDX-License-Identifier: Apache-2.0
"""How two stacks of feature maps become an anomaly map and a score: pure functions, always in float32.

Low precision is ordinary: users train with bf16-mixed, and OpenVINO picks bfloat16 by itself on current processors. So
distances are written in a form that does not cancel, autocast is off in here, and no operation is a convolution, a
matrix product or an interpolation, which are what OpenVINO turns to bfloat16 together with all that lies before them:
what comes behind the networks' last convolution stays in float32 there too.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Literal, ParamSpec, TypeVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

ImageScore = Literal["max", "mean", "top1p", "top10p"]
"""``top1p`` and ``top10p`` are the mean of the highest hundredth and tenth of the map."""

IMAGE_SCORES: tuple[ImageScore, ...] = get_args(ImageScore)

TOP_SHARES = {"top1p": 0.01, "top10p": 0.1}

P = ParamSpec("P")
R = TypeVar("R")


def full_precision(device_type: str) -> AbstractContextManager[None]:
    """Autocast off, where it is on: an exported graph is not to hold a trace of it."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function of tensors in float32: autocast is off, and half precision is widened on the way in."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next(_device_types([*args, *kwargs.values()]), "cpu")
        with full_precision(device):
            return function(*map(_widened, args), **{name: _widened(value) for name, value in kwargs.items()})  # type: ignore[arg-type]

    return run


@in_float32
def flat_cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """``1 - cos(vec a, vec b)`` of each image.

    Computed as half the squared difference of the two unit vectors, which is the same and does not cancel.

    Args:
        a: B x C x H x W.
        b: B x C x H x W.

    Returns:
        One distance per image: B.
    """
    return _half_squared_difference(a.flatten(1), b.flatten(1))


@in_float32
def pixel_cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """``1 - cos`` over the channels at each place: B x C x H x W -> B x 1 x H x W."""
    return _half_squared_difference(a, b).unsqueeze(1)


@in_float32
def summed_map(distances: Sequence[Tensor], size: Sequence[int], weights: Tensor | None = None) -> Tensor:
    """Bring the scales' distance maps to one size and add them up.

    Args:
        distances: S maps, B x 1 x h_s x w_s.
        size: height and width of the result.
        weights: what each scale counts in each image, B x S; ``None`` counts each once.

    Returns:
        B x 1 x H x W.
    """
    total = None
    for scale, distance in enumerate(distances):
        up = _stretched(_stretched(distance, size[0], dim=-2), size[1], dim=-1)
        if weights is not None:
            up = up * weights[:, scale, None, None, None]
        total = up if total is None else total + up
    if total is None:
        msg = "summed_map needs at least one distance map."
        raise ValueError(msg)
    return total


@in_float32
def gaussian_blur(maps: Tensor, sigma: float = 4.0) -> Tensor:
    """Blur each image by itself, as ``scipy.ndimage.gaussian_filter(image, sigma)`` does.

    The borders mirror the edge pixel too (scipy's ``reflect``), which ``torch.nn.functional.pad`` has no mode for.

    Args:
        maps: B x 1 x H x W, with H and W no smaller than ``4 sigma``.
        sigma: standard deviation in pixels; the kernel ends at four of them.
    """
    radius = math.floor(4 * sigma + 0.5)
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(radius + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    kernel = [weight / total for weight in weights]
    for dim in (-1, -2):
        size = maps.shape[dim]
        ends = (maps.narrow(dim, 0, radius).flip(dim), maps, maps.narrow(dim, size - radius, radius).flip(dim))
        padded = torch.cat(ends, dim=dim)
        maps = kernel[0] * maps
        for offset in range(1, radius + 1):
            sides = padded.narrow(dim, radius - offset, size) + padded.narrow(dim, radius + offset, size)
            maps = maps + kernel[offset] * sides
    return maps


@in_float32
def image_score(maps: Tensor, how: ImageScore) -> Tensor:
    """The score of each image by its map, B x 1 x H x W -> B; see ``ImageScore``.

    Example:
        >>> import torch
        >>> image_score(torch.arange(100.0).view(1, 1, 10, 10), "top10p").item()
        94.5
    """
    if how == "max":
        return maps.amax(dim=(1, 2, 3))
    if how == "mean":
        return maps.mean(dim=(1, 2, 3))
    count = max(1, int(maps.shape[-2] * maps.shape[-1] * TOP_SHARES[how]))
    return maps.flatten(1).topk(count).values.mean(dim=1)


def _half_squared_difference(a: Tensor, b: Tensor) -> Tensor:
    """``|a / |a| - b / |b||^2 / 2`` over dimension 1."""
    return 0.5 * (F.normalize(a, dim=1, eps=1e-8) - F.normalize(b, dim=1, eps=1e-8)).square().sum(dim=1)


def _stretched(maps: Tensor, size: int, dim: int) -> Tensor:
    """Linear interpolation along one axis, the ends on the ends (``align_corners=True``)."""
    length = maps.shape[dim]
    place = torch.arange(size, dtype=torch.float64) * ((length - 1) / max(size - 1, 1))
    low = place.floor().clamp(max=max(length - 2, 0)).long()
    share_shape = [size, 1] if dim == -2 else [size]  # noqa: PLR2004
    share = (place - low).float().view(share_shape).to(maps.device)
    low = low.to(maps.device)
    first = maps.index_select(dim, low)
    second = maps.index_select(dim, (low + 1).clamp(max=length - 1))
    return first + share * (second - first)


def _widened(value: object) -> object:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in {torch.bfloat16, torch.float16} else value
    if isinstance(value, list | tuple) and value and all(isinstance(part, Tensor) for part in value):
        return [_widened(part) for part in value]
    return value


def _device_types(values: Sequence[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, Tensor):
            yield value.device.type
        elif isinstance(value, list | tuple):
            yield from _device_types(value)
