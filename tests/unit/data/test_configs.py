# SPDX-License-Identifier: Apache-2.0
"""The example files are understood by anomalib's own parser, and say nothing that the class does not know."""

from pathlib import Path

import pytest
from anomalib.data import AnomalibDataModule

from anomalib_fsad import MedicalFewShot

CONFIGS = sorted((Path(__file__).parents[3] / "configs/data").glob("*.yaml"))


def test_there_are_examples() -> None:
    assert {path.stem for path in CONFIGS} >= {"medical_few_shot", "medical_sets", "own_images"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_example(path: Path) -> None:
    data = AnomalibDataModule.from_config(path)
    assert isinstance(data, MedicalFewShot)
    if path.stem == "medical_sets":
        assert data.sets["rsna"]["test_share"] == 0.2
        assert data.sets["BrainTumor"]["pituitary"] is True


def test_an_example_runs_on_other_data(phantom_root: Path) -> None:
    (path,) = [path for path in CONFIGS if path.stem == "medical_few_shot"]
    options = {"data.root": phantom_root, "data.target": "fundus", "data.k_shot": 2, "data.num_workers": 0}
    data = AnomalibDataModule.from_config(path, **options)
    data.setup()
    assert data.category == "fundus"
    assert next(iter(data.train_dataloader())).support.shape == (16, 2, 3, 32, 32)
