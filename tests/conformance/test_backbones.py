# SPDX-License-Identifier: Apache-2.0
"""Each model learns from each teacher: a step of training, and the scores of a batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.engine import Engine

from anomalib_fsad import registry
from tests.conformance.conftest import QUIET, Variant
from tests.conftest import toy_folder

BACKBONES = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2", "resnext50_32x4d"),
    *("tf_efficientnet_lite0", "tf_efficientnet_lite2", "mobilenetv3_large_100", "regnety_004"),
    *("convnext_tiny", "swin_tiny"),
)

QUICK = ("mobilenetv3_large_100", "swin_tiny")
"""Tried in `make test`: one with squeezed stages, one whose maps have their channels last."""


def tried(backbone: str) -> Any:
    return pytest.param(backbone, marks=[] if backbone in QUICK else [pytest.mark.slow])


def learn(model: Any, root: Path, folder: Path) -> None:
    """One step, after which all that is trained has changed, and the scores of two images."""
    before = {name: value.clone() for name, value in model.model.named_parameters() if value.requires_grad}
    engine = Engine(default_root_dir=folder, limit_train_batches=1, limit_val_batches=1, **QUIET)
    data = toy_folder(root)
    data.train_batch_size = 4  # of two images, each has one partner, and nothing to weigh
    engine.fit(model, datamodule=data)
    still = [name for name, value in model.model.named_parameters() if name in before and value.equal(before[name])]
    assert len(still) < len(before) / 10, still
    with torch.inference_mode():
        prediction = model.eval()(torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    assert prediction.anomaly_map.shape == (2, 1, 64, 96)
    assert torch.isfinite(prediction.pred_score).all()
    assert prediction.pred_score[0] != prediction.pred_score[1]


@pytest.mark.parametrize("backbone", map(tried, BACKBONES))
@pytest.mark.parametrize("name", registry.MODELS)
def test_teaches(name: str, backbone: str, toy_root: Path, tmp_path: Path) -> None:
    own = Variant(name, "resnet18").build(backbone=backbone, image_size=[64, 96], max_epochs=1, lr=1e-3)
    learn(own, toy_root, tmp_path)


@pytest.mark.parametrize("backbone", map(tried, BACKBONES))
def test_teaches_beside_another(backbone: str, toy_root: Path, tmp_path: Path) -> None:
    own = Variant("PDD", "resnet18").build(second_backbone=backbone, image_size=[64, 96], max_epochs=1)
    learn(own, toy_root, tmp_path)
