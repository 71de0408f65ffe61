# SPDX-License-Identifier: Apache-2.0
"""A small phantom set, and a datamodule on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anomalib_fsad.data import MedicalFewShot
from anomalib_fsad.data.phantom import write_phantom

SIZE, N_TRAIN, N_TEST = 32, 6, 10


@pytest.fixture(scope="session")
def phantom_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six organs, 6 training images and 10 + 10 test images of 32 pixels each."""
    return write_phantom(tmp_path_factory.mktemp("phantom"), SIZE, N_TRAIN, N_TEST)


@pytest.fixture
def medical(phantom_root: Path, tmp_path: Path) -> Callable[..., MedicalFewShot]:
    """Makes a datamodule on the phantom set; the cache lies in the test's own folder."""

    def make(**options: Any) -> MedicalFewShot:
        given = {"root": phantom_root, "target": "fundus", "k_shot": 2, "num_workers": 0, "train_batch_size": 4}
        return MedicalFewShot(**{**given, "cache_dir": tmp_path / "cache", **options})

    return make
