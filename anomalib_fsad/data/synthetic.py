# SPDX-License-Identifier: Apache-2.0
"""Validation without any label: held-out normal images, and copies of them spoilt by anomalib's Perlin noise.

anomalib's own ``SyntheticAnomalyDataset`` lays only 1 to 20 % of the noise over the image, which on grey medical images
a detector cannot tell from none at all; here the generator keeps its own default, 20 to 100 %. That matters beyond the
threshold: anomalib clamps scores to half the range that they had in validation, before it computes any metric.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anomalib.data.utils.generators.perlin import PerlinAnomalyGenerator
from PIL import Image
from torch import Tensor

from anomalib_fsad.images.decoding import to_uint8

MIN_SPOILT = 4
"""Spoilt images of each category: one of each held-out image, but at least these."""


def with_synthetic_anomalies(
    normals: pd.DataFrame, read: Callable[[str], Tensor], folder: Path, seed: int
) -> pd.DataFrame:
    """Add spoilt copies of normal images.

    Args:
        normals: a table of normal images.
        read: gives the image at a path, C x H x W in [0, 1].
        folder: where the spoilt images and their masks are written.
        seed: of the noise.

    Returns:
        The same table and the copies, with a mask for each of these.
    """
    rows = []
    with _seeded(seed):
        generator = PerlinAnomalyGenerator(probability=1.0)
        for category, group in normals.groupby("category", sort=True):
            paths = sorted(group["image_path"])
            for i, path in enumerate(islice(cycle(paths), max(len(paths), MIN_SPOILT))):
                spoilt, mask = generator(read(path))
                image_path = _save(
                    spoilt.permute(1, 2, 0).numpy(), folder / str(category) / "synthetic" / f"{i:04d}.png"
                )
                mask_path = _save(mask[0].numpy(), folder / str(category) / "ground_truth" / f"{i:04d}.png")
                rows.append((image_path, "synthetic", 1, "val", category, mask_path))
    spoilt_table = pd.DataFrame(rows, columns=["image_path", "label", "label_index", "split", "category", "mask_path"])
    return pd.concat([normals.assign(split="val"), spoilt_table], ignore_index=True)


def _save(pixels: np.ndarray, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(to_uint8(pixels)).save(path, compress_level=1)
    return str(path)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Leave the three global generators as they were: the noise draws from all of them."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy)  # noqa: NPY002
            random.setstate(python)
