# SPDX-License-Identifier: Apache-2.0
"""Phantom images and the phantom set on disk."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalib_fsad.data.phantom.canvas import PatientRng, Rng, box_blur, smooth_noise
from anomalib_fsad.data.phantom.lesions import LESIONS, STRENGTHS, VISIBLE, Strength
from anomalib_fsad.data.phantom.organs import ORGANS
from anomalib_fsad.files import replacing_folder

SPLITS = ("train", "good", "bad")


class Phantom(NamedTuple):
    """One image.

    Attributes:
        image: n x n (grey) or n x n x 3, uint8.
        mask: n x n, True on the lesion; all False on a healthy image.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def make_phantom(
    organ: str,
    seed: int | list[int],
    image_size: int = 128,
    lesion: str | None = None,
    strength: str | Strength = "easy",
    spread: float = 1.0,
) -> Phantom:
    """Draw one patient.

    Args:
        organ: a key of ``ORGANS``.
        seed: of everything in the picture; the same seed gives the same patient with and without a lesion.
        image_size: pixels along a side.
        lesion: a key of ``LESIONS``, or ``None`` for a healthy image.
        strength: ``easy``, ``hard``, or a contrast and size of one's own.
        spread: how far patients' poses and shapes lie apart; 0 makes them all alike.

    Example:
        >>> healthy, ill = (make_phantom("fundus", 1, 64, lesion) for lesion in (None, "blob"))
        >>> healthy.image.shape, bool(healthy.mask.any()), bool(ill.mask.any())
        ((64, 64, 3), False, True)
    """
    drawing, lesion_chance, camera = (PatientRng(s, spread) for s in np.random.SeedSequence(seed).spawn(3))
    drawn = ORGANS[organ](drawing, image_size)
    image, alpha = drawn.image, np.zeros((image_size, image_size), dtype=np.float32)
    if lesion is not None:
        image, alpha = LESIONS[lesion](
            lesion_chance, drawn, STRENGTHS[strength] if isinstance(strength, str) else strength
        )
        # Nothing brighter or darker than the organ itself, or the extremes alone would tell.
        image = np.clip(image, drawn.image.min(axis=(0, 1)), drawn.image.max(axis=(0, 1)))
    pixels = np.rint(np.clip(photograph(camera, image), 0, 1) * 255).astype(np.uint8)
    return Phantom(pixels[..., 0] if pixels.shape[2] == 1 else pixels, alpha >= VISIBLE)


def photograph(rng: Rng, image: NDArray[np.floating]) -> NDArray[np.floating]:
    """What the device adds: gain, offset, gamma, uneven light, blur and noise."""
    n, _, channels = image.shape
    gamma = np.exp(rng.normal(0, 0.10))
    gain, offset = np.exp(rng.normal(0, 0.08)), rng.normal(0, 0.015)
    light = 1 + 0.02 * smooth_noise(rng, n, 2)
    image = np.clip(image, 0, 1) ** gamma * gain * light[..., None] + offset
    softness = rng.uniform(0, 0.4)
    image = image * (1 - softness) + box_blur(image, 1) * softness
    noise = rng.uniform(0.006, 0.018)
    return image + noise * rng.standard_normal((n, n, channels), dtype=np.float32)


def write_phantom(
    root: Path,
    image_size: int = 128,
    n_train: int = 60,
    n_test: int = 30,
    seed: int = 0,
    spread: float = 1.0,
    strengths: Sequence[str] = tuple(STRENGTHS),
) -> Path:
    """Write the set once, in the ``folder`` layout; a set already there is left alone.

    Args:
        root: where to; the set goes into a folder named after its options.
        image_size: pixels along a side.
        n_train: healthy training images of each organ.
        n_test: healthy test images of each organ, and as many with lesions, of each kind and strength in turn.
        seed: of the whole set.
        spread: how far patients' poses and shapes lie apart; 0 makes them all alike.
        strengths: of the lesions: ``easy``, ``hard`` or both.

    Returns:
        The folder that holds the organs.
    """
    unknown = sorted(set(strengths) - set(STRENGTHS))
    if unknown or not strengths:
        msg = f"strengths={list(strengths)} must name some of {list(STRENGTHS)}."
        raise ValueError(msg)
    variant = "" if spread == 1 else f"_spread{spread:g}"
    variant += "" if set(strengths) == set(STRENGTHS) else f"_{'_'.join(strengths)}"
    home = root / f"phantom_{image_size}px_{n_train}train_{n_test}test_seed{seed}{variant}"
    if (home / "phantom.json").is_file():
        return home
    root.mkdir(parents=True, exist_ok=True)
    kinds = [(lesion, strength) for strength in strengths for lesion in LESIONS]
    try:
        with replacing_folder(home) as scratch:  # all or nothing, also with several processes at work
            for number, organ in enumerate(ORGANS):
                for split, count in zip(SPLITS, (n_train, n_test, n_test), strict=True):
                    for i in range(count):
                        lesion, strength = kinds[i % len(kinds)] if split == "bad" else (None, "easy")
                        patient = [seed, number, SPLITS.index(split), i]
                        phantom = make_phantom(organ, patient, image_size, lesion, strength, spread)
                        _write_one(scratch / organ, phantom, split, i, lesion, strength)
            sizes = {"image_size": image_size, "n_train": n_train, "n_test": n_test, "seed": seed}
            options = {**sizes, "spread": spread, "strengths": list(strengths)}
            (scratch / "phantom.json").write_text(json.dumps(options))
    except OSError:
        if not (home / "phantom.json").is_file():  # another process was faster otherwise
            raise
    return home


def _write_one(folder: Path, phantom: Phantom, split: str, i: int, lesion: str | None, strength: str) -> None:
    name = f"{i:04d}.png" if lesion is None else f"{i:04d}_{strength}.png"
    place = {"train": "train/good", "good": "test/good", "bad": f"test/{lesion}"}[split]
    _save(phantom.image, folder / place / name)
    if lesion is not None:
        _save(phantom.mask.astype(np.uint8) * 255, folder / "ground_truth" / lesion / name)


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)
