# SPDX-License-Identifier: Apache-2.0
"""Checks of PDD's options, since anomalib's benchmark passes jsonargparse by."""

from collections.abc import Sequence


def check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is not among the choices."""
    if value not in choices:
        msg = f"{option}={value!r} is not one of {', '.join(choices)}."
        raise ValueError(msg)


def check_taus(tau_low: float, tau_high: float) -> None:
    """Refuse thresholds that no cosine can be on the right side of."""
    for option, value in (("tau_low", tau_low), ("tau_high", tau_high)):
        if not -1 <= value <= 1:
            msg = f"{option}={value} is compared with cosines: it must be between -1 and 1; the authors start at "
            raise ValueError(msg + "tau_low=0.75, tau_high=0.30.")


def sides(image_size: int | Sequence[int], stride: int) -> tuple[int, int]:
    """``image_size`` as height and width.

    Example:
        >>> sides(64, stride=32)
        (64, 64)
    """
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(int(side) for side in image_size)
    if len(size) != 2 or any(side < stride or side % stride for side in size):  # noqa: PLR2004
        msg = f"image_size={image_size!r} must be one or two multiples of {stride}, such as 256 or [256, 320]."
        raise ValueError(msg)
    return size[0], size[1]
