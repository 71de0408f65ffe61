# SPDX-License-Identifier: Apache-2.0
"""Checks of the options that all models have, since anomalib's benchmark passes jsonargparse by."""

from collections.abc import Sequence

import torch
from torch import Tensor

STRIDE = 32
"""Of the backbones' deepest stage."""


def check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is not among the choices."""
    if value not in choices:
        msg = f"{option}={value!r} is not one of {', '.join(choices)}."
        raise ValueError(msg)


def check_cache(place: str, gib: float) -> None:
    """Refuse a place where nothing can be kept, and no room."""
    check_choice("cache_teachers", place, ("none", "ram", "disk"))
    if gib <= 0:
        msg = f"cache_gib={gib} must be more than 0; to keep nothing, pass cache_teachers=none."
        raise ValueError(msg)


def checked_size(image_size: int | Sequence[int]) -> tuple[int, int]:
    """``image_size`` as height and width, plain numbers that a checkpoint can hold.

    Example:
        >>> checked_size(64)
        (64, 64)
    """
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(int(side) for side in image_size)
    if len(size) != 2 or any(side < STRIDE or side % STRIDE for side in size):  # noqa: PLR2004
        msg = f"image_size={image_size!r} must be one or two multiples of {STRIDE}, such as 256 or [256, 320]."
        raise ValueError(msg)
    return size[0], size[1]


def check_trainable(images: Tensor, model: str) -> None:
    """Refuse a batch that batch normalisation cannot train on: one pixel at the deepest level."""
    check_images(images, model)
    if images.shape[0] * images.shape[-2:].numel() == STRIDE**2:
        msg = (
            f"{model} cannot train on a batch of one image of {STRIDE} x {STRIDE} pixels: its deepest level is one "
            "pixel, and batch normalisation needs more. Raise train_batch_size (and drop a last batch of one), or "
            "image_size."
        )
        raise ValueError(msg)


def check_images(images: Tensor, model: str) -> None:
    """Refuse images that a pre-processor of the user's own left at a size the backbone cannot halve down to its end.

    A graph that is being exported is not checked: its sizes are symbols, and a condition would become part of it.
    """
    if torch.compiler.is_compiling():
        return
    height, width = images.shape[-2:]
    if height % STRIDE or width % STRIDE:
        msg = (
            f"{model} was given images of {height} x {width} pixels; its backbone needs multiples of {STRIDE}. "
            "Set image_size, or the Resize of your own pre_processor, accordingly."
        )
        raise ValueError(msg)
