# SPDX-License-Identifier: Apache-2.0
"""What is kept of a test."""

from typing import Any

import pytest
import torch
from anomalib.data import ImageBatch
from lightning.pytorch import LightningModule

from anomalib_fsad.compare.recorder import Recorder


def _record(*scores: float) -> Recorder:
    recorder, trainer, module = Recorder(), None, LightningModule()
    batch = ImageBatch(
        image=torch.rand(len(scores), 3, 8, 8),
        image_path=[f"{place}.png" for place in range(len(scores))],
        pred_score=torch.tensor(scores),
        gt_label=torch.zeros(len(scores), dtype=torch.bool),
        anomaly_map=torch.rand(len(scores), 1, 8, 8),
    )
    anything: Any = trainer
    recorder.on_test_batch_start(anything, module)
    recorder.on_test_batch_end(anything, module, batch)
    return recorder


def test_scores_are_kept_in_order() -> None:
    assert _record(0.25, 3.0).scores.tolist() == [0.25, 3.0]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_no_result(wrong: float) -> None:
    with pytest.raises(ValueError, match="1 of 2 test scores are no finite numbers"):
        _ = _record(0.25, wrong).scores
