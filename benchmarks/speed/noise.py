# SPDX-License-Identifier: Apache-2.0
"""Simplex noise: ours for a batch at once, against the ``opensimplex`` package an image at a time.

Needs ``pip install opensimplex``; with ``numba`` beside it, which it uses if it is there, the baseline is another one.
"""

import argparse
import importlib.util
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from anomalib_fsad.models.scrd4ad.simplex import fractal_noise
from benchmarks.speed.subject import Case
from benchmarks.timing import its_own_figure, processor_time

SIDES = (31, 64, 128)
"""The largest rectangle of an image of 256 pixels, and larger fields."""
OURS, LIBRARY = "ours", "opensimplex"

NOTES = (
    "Once with and once without `numba` installed beside `opensimplex`. Six octaves, three slices an image, a "
    "fresh field each (the library is seeded for each image); milliseconds of processor time an image, one thread."
)
BASELINE = LIBRARY
ROUNDS = 7


def library_noise(count: int, side: int, octaves: int = 6) -> np.ndarray:
    """The same kind of field by the library, an image and an octave at a time: count x 3 x side x side."""
    import opensimplex

    fields = np.zeros((count, 3, side, side))
    for image in range(count):
        opensimplex.seed(image)
        for octave in range(octaves):
            feature = 32 / 2**octave
            x, z = np.arange(side) / feature, np.arange(3) / feature
            fields[image] += 0.6**octave * opensimplex.noise3array(x, x, z)
    return fields


def correlation(fields: np.ndarray, distance: int) -> float:
    """Of values so many pixels apart."""
    plane = fields[:, 0]
    return float(np.corrcoef(plane[..., :-distance].ravel(), plane[..., distance:].ravel())[0, 1])


def likeness(count: int = 8, side: int = 128) -> Iterator[Case]:
    """Whether the two are the same kind of noise: deviation, and correlation over a distance, of one octave."""
    ours = fractal_noise(count, (side, side), octaves=1, generator=torch.Generator().manual_seed(0)).numpy()
    fields = {OURS: ours, LIBRARY: library_noise(count, side, octaves=1)}
    figures = {
        "deviation": np.std,
        **{f"correlation over {d} px": partial(correlation, distance=d) for d in (8, 16, 32)},
    }
    for what, figure in {"deviation": np.std, **figures}.items():
        works = {name: partial(figure, field) for name, field in fields.items()}
        yield Case({"what": f"{what}, one octave"}, works, its_own_figure, "-", warm_up=0)


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Milliseconds an image; an interpreted library is given one image, since it takes seconds for it."""
    images = {OURS: options.batch, LIBRARY: options.batch if options.with_numba else 1}
    for side in SIDES:
        works = {
            OURS: partial(fractal_noise, options.batch, (side, side), device=torch.device(options.device)),
            LIBRARY: partial(library_noise, images[LIBRARY], side),
        }
        for work in works.values():
            work()
        torch.set_num_threads(1)  # as the library has; numba, once it runs, sets it anew
        columns = {"what": f"3 x {side} x {side}"}
        yield Case(columns, works, processor_time(options.device), images=images, warm_up=0)
    yield from likeness()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes and device."""
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.set_defaults(with_numba=importlib.util.find_spec("numba") is not None)
