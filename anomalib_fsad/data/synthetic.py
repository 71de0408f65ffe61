# SPDX-License-Identifier: Apache-2.0
"""Validation without any label: anomalib's synthetic (Perlin noise) anomalies on held-out normal images."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anomalib.data.utils.synthetic import make_synthetic_dataset

MIN_IMAGES = 2
"""One to stay normal, one to be spoilt."""


def with_synthetic_anomalies(normals: pd.DataFrame, folder: Path, seed: int) -> pd.DataFrame:
    """Spoil half of the normal images of each category.

    Args:
        normals: a table of normal images that an 8-bit viewer can open, at least two of each category.
        folder: where the spoilt images and their masks are written.
        seed: of the choice and of the noise.

    Returns:
        A table with a mask for every abnormal image.
    """
    tables = []
    with _seeded(seed):
        for category, group in normals.groupby("category", sort=True):
            images, masks = folder / str(category) / "abnormal", folder / str(category) / "ground_truth"
            images.mkdir(parents=True)
            masks.mkdir(parents=True)
            mixed = make_synthetic_dataset(group.reset_index(drop=True), images, masks, anomalous_ratio=0.5)
            tables.append(mixed.assign(category=category, split="val"))
    table = pd.concat(tables, ignore_index=True)
    return table.assign(mask_path=table["mask_path"].fillna(""), label_index=table["label_index"].astype(int))


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
