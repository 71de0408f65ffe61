# SPDX-License-Identifier: Apache-2.0
"""Where support images come from: a folder, a datamodule's support set, or its training images."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.data.utils import LabelName
from torch import Tensor

from anomalib_fsad.images.decoding import read_rgb
from anomalib_fsad.images.listing import images_in
from anomalib_fsad.images.support import choose_support

logger = logging.getLogger(__name__)


def folder_support(folder: str | Path, k_shot: int, seed: int | None) -> list[Tensor]:
    """``k_shot`` normal images of a folder (3 x H x W in [0, 1], of any sizes), 8 or 16 bits or DICOM.

    Raises:
        ValueError: if there are too few images, or one cannot be read.
    """
    path = Path(folder)
    if not path.is_dir():
        msg = f"few_shot_source={str(folder)!r} is not a folder: give one with {k_shot} normal images."
        raise ValueError(msg)
    names = images_in(path, below=True)
    if len(names) < k_shot:
        msg = (
            f"few_shot_source={str(folder)!r} holds {len(names)} images, but k_shot={k_shot}: add normal images "
            "(PNG, JPEG, BMP, TIFF or DICOM) or lower k_shot."
        )
        raise ValueError(msg)
    chosen = choose_support(names, k_shot, seed or 0)
    logger.info("Support set from few_shot_source: %s", ", ".join(str(name) for name in chosen))
    return [torch.from_numpy(read_rgb(name)).permute(2, 0, 1) for name in chosen]


def datamodule_support(datamodule: Any) -> list[Tensor] | None:
    """The images of the datamodule's own support set, if it has one (``support_dataloader``, as MedicalFewShot's)."""
    loader = getattr(datamodule, "support_dataloader", None)
    if loader is None:
        return None
    return [image for batch in loader() for image in batch.image]


def training_support(dataset: Any, k_shot: int, seed: int | None) -> list[Tensor]:
    """``k_shot`` normal images out of a training dataset of anomalib's.

    Raises:
        ValueError: if it has too few.
    """
    labels = dataset.samples.label_index.to_numpy()
    normal = np.flatnonzero(labels != LabelName.ABNORMAL)
    if len(normal) < k_shot:
        msg = (
            f"The training split has {len(normal)} normal images, but k_shot={k_shot}: add images, lower k_shot, "
            "or pass few_shot_source=path/to/folder."
        )
        raise ValueError(msg)
    places = choose_support(normal.tolist(), k_shot, seed or 0)
    logger.info(
        "Support set from the training split: %s",
        ", ".join(str(dataset.samples.iloc[place].image_path) for place in places),
    )
    return [dataset[place].image for place in places]
