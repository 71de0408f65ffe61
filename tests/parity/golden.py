# SPDX-License-Identifier: Apache-2.0
"""Weights, images and comparisons by the rules that the golden figures were made by."""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

VALUE_TOLERANCE = 1e-4
"""Of a tensor's values relative to its standard deviation, and of a loss relative to itself."""
NORM_TOLERANCE = 1e-3
"""Of a gradient's norm, relative to itself."""

COSINE_RESOLUTION = 2**-19
"""What a recorded sum of three ``1 - cos`` is known to, each a float32 sum over up to 1,024 channels that cancels.

Where the maps of an untrained network are near 0, that is more than the tolerance: computed in float64, the recorded
D24FAD maps are as far off. Ours do not cancel, and are held to the tolerance against float64 instead.
"""

LOSS_RESOLUTION = 2**-16
"""The same of a loss, whose cosines run over up to a million numbers."""

IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
IMAGENET_STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def golden_state(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The golden weights of a network, made from its parameter names alone."""
    return {name: _golden_tensor(name, tuple(shape)) for name, shape in shapes.items()}


def _golden_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    rng = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
    g = rng.standard_normal(shape).astype(np.float32)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return torch.tensor(0)
    if leaf == "running_mean":
        value = 0.1 * g
    elif leaf == "running_var":
        value = 1 + 0.2 * np.abs(g)
    elif leaf == "A_logs":
        value = np.log(np.arange(1, shape[-1] + 1, dtype=np.float32)) + 0.05 * g
    elif leaf == "Ds":
        value = 1 + 0.1 * g
    elif leaf == "dt_projs_bias":
        value = -4 + 0.5 * g
    elif len(shape) <= 1:
        value = 1 + 0.1 * g if leaf == "weight" else 0.05 * g
    else:
        value = g * np.float32(math.sqrt(1 / math.prod(shape[1:])))
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def golden_images(seed: int, count: int, size: int) -> Tensor:
    """``count`` smooth RGB images in [0, 1]: N x 3 x S x S."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[0:size, 0:size]
    out = np.empty((count, 3, size, size), dtype=np.float32)
    for image in out:
        for channel in image:
            a = rng.uniform(1, 6, (4, 2))
            p = rng.uniform(0, 6.28, 4)
            s = rng.uniform(0.2, 1, 4)
            v = sum(s[t] * np.sin(6.28 * a[t, 0] * x / size + 6.28 * a[t, 1] * y / size + p[t]) for t in range(4))
            channel[:] = (v - v.min()) / (v.max() - v.min())
    return torch.from_numpy(out)


def imagenet_normalize(images: Tensor) -> Tensor:
    """Subtract ImageNet's mean, divide by its deviation."""
    return (images - IMAGENET_MEAN) / IMAGENET_STD


@contextmanager
def as_recorded() -> Iterator[None]:
    """Two threads, as when the figures were made.

    The gradients of the wide networks are small differences: float32 itself is off by 2e-3 from float64 there, and one
    thread and two differ by as much, which is more than the tolerance. The small networks hold it with any number.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Report:
    """Collects quantity, deviation and verdict, a line each."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.rows: list[tuple[str, float, float]] = []

    def tensor(self, name: str, actual: Tensor, expected: dict[str, Any], resolution: float = 0.0) -> None:
        """Compare a tensor with its recorded samples, mean and deviation; relative to the deviation.

        ``resolution`` is what the figures themselves are known to, where that is more than the tolerance.
        """
        flat = actual.detach().double().flatten()
        if flat.numel() != expected["numel"]:
            self.rows.append((f"{name} (numel {flat.numel()} instead of {expected['numel']})", math.inf, 0.0))
            return
        scale = expected["std"] or 1.0
        samples = torch.tensor(expected["samples"], dtype=torch.float64)
        places = torch.from_numpy(np.round(np.linspace(0, flat.numel() - 1, len(samples))).astype(np.int64))
        deviations = [
            (flat[places] - samples).abs().max().item(),
            abs(flat.mean().item() - expected["mean"]),
            abs(flat.std(correction=0).item() - expected["std"]),
        ]
        self.rows.append((name, max(deviations) / scale, max(VALUE_TOLERANCE, resolution / scale)))

    def scalar(
        self,
        name: str,
        actual: float | Tensor,
        expected: float,
        tolerance: float = VALUE_TOLERANCE,
        floor: float = 1e-7,
        resolution: float = 0.0,
    ) -> None:
        """Compare a loss or score; ``floor`` is what counts as zero, ``resolution`` what it is known to."""
        size = max(abs(expected), floor)
        self.rows.append((name, abs(float(actual) - expected) / size, max(tolerance, resolution / size)))

    def exact(self, name: str, actual: Tensor, truth: Tensor) -> None:
        """Compare a tensor with the same computed in float64; relative to the deviation."""
        deviation = (actual.double() - truth).abs().max() / truth.std(correction=0)
        self.rows.append((f"{name}, against float64", deviation.item(), VALUE_TOLERANCE))

    def norms(self, actual: Mapping[str, Tensor | None], expected: Mapping[str, float], total: float) -> None:
        """Compare the gradient norms of some parameters; those that are zero but for rounding only by the total."""
        for name, norm in expected.items():
            gradient = actual[name]
            value = 0.0 if gradient is None else gradient.norm().item()
            self.rows.append((f"gradient {name}", abs(value - norm) / max(norm, 1e-4 * total), NORM_TOLERANCE))

    @property
    def passed(self) -> bool:
        """Whether every figure is within its tolerance."""
        return bool(self.rows) and all(deviation <= tolerance for _, deviation, tolerance in self.rows)

    def lines(self) -> list[str]:
        """The report as text."""
        width = max((len(name) for name, _, _ in self.rows), default=0)
        return [self.title] + [
            f"  {name:<{width}}  {deviation:9.2e}  {'ok' if deviation <= tolerance else 'FAIL'} (<= {tolerance:.0e})"
            for name, deviation, tolerance in self.rows
        ]
