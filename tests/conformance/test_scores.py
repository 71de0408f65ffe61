# SPDX-License-Identifier: Apache-2.0
"""A score depends on its image alone, and survives low precision."""

from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from tests.conformance.conftest import Fitted, Graded
from tests.conftest import cli


def assert_same_verdicts(scores: np.ndarray, expected: np.ndarray, labels: np.ndarray) -> None:
    """What low precision must keep: the order of the images, and with it AUROC."""
    assert spearmanr(scores, expected).statistic >= 0.99
    assert abs(roc_auc_score(labels, scores) - roc_auc_score(labels, expected)) <= 0.005


def test_neither_batch_size_nor_order_matters(fitted: Fitted, graded: Graded) -> None:
    images = graded.images[::8]
    together = fitted.model(images)
    turned = fitted.model(images.flip(0))
    for i, image in enumerate(images):
        alone = fitted.model(image[None])
        for score, anomaly_map in (
            (together.pred_score[i], together.anomaly_map[i]),
            (turned.pred_score[-1 - i], turned.anomaly_map[-1 - i]),
        ):
            torch.testing.assert_close(score, alone.pred_score[0], atol=1e-5, rtol=0)
            torch.testing.assert_close(anomaly_map, alone.anomaly_map[0], atol=1e-5, rtol=0)


def test_bf16_mixed_keeps_the_order(detector: Fitted, graded: Graded, tmp_path: Path) -> None:
    arguments = [f"--data={graded.folder}", f"--ckpt_path={detector.checkpoint}", "--trainer.precision=bf16-mixed"]
    run = cli("predict", *detector.variant.options(), *arguments, root=tmp_path)
    batches = run.engine.trainer.predict_loop.predictions
    assert [path for batch in batches for path in batch.image_path] == [str(file) for file in graded.files]
    assert batches[0].anomaly_map.dtype == torch.float32
    scores = torch.cat([batch.pred_score for batch in batches])
    assert scores.dtype == torch.float32
    assert_same_verdicts(scores.numpy(), detector.scores(graded.images), graded.labels)
