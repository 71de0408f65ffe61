# SPDX-License-Identifier: Apache-2.0
"""Every verb of anomalib's command line; ``benchmark`` is in ``tests/unit/benchmarks``, exports in ``test_export``."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.data.utils import read_image

from tests.conformance.conftest import Fitted, Variant
from tests.conftest import cli, draw, folder_arguments, same_as_test_arguments, toy_test_auroc


def metrics(verb: str, fitted: Fitted, toy_root: Path, root: Path, **more: object) -> dict[str, float]:
    arguments = [*fitted.variant.options(**more), *same_as_test_arguments(toy_root), f"--ckpt_path={fitted.checkpoint}"]
    run = cli(verb, *arguments, root=root)
    return {name: value.item() for name, value in run.engine.trainer.callback_metrics.items()}


def test_fit_leaves_a_threshold(fitted: Fitted) -> None:
    assert torch.isfinite(fitted.model.post_processor.image_threshold)
    assert torch.isfinite(fitted.model.post_processor.image_min)


def test_train(variant: Variant, toy_root: Path, tmp_path: Path) -> None:
    """With a last batch of one image, and images of two sizes in the test split."""
    run = cli("train", *variant.options(max_epochs=1), *folder_arguments(toy_root), root=tmp_path)
    measured = run.engine.trainer.callback_metrics
    assert {"image_AUROC", "image_F1Score"} <= set(measured)
    assert all(math.isfinite(value) for value in measured.values())


def test_validate(fitted: Fitted, toy_root: Path, tmp_path: Path) -> None:
    measured = metrics("validate", fitted, toy_root, tmp_path)
    assert measured["image_AUROC"] == pytest.approx(toy_test_auroc(fitted.model, toy_root))


def test_test_gives_the_checkpoints_metrics_whatever_size_is_asked_for(
    fitted: Fitted, toy_root: Path, tmp_path: Path
) -> None:
    right = metrics("test", fitted, toy_root, tmp_path / "right")
    assert right["image_AUROC"] == pytest.approx(toy_test_auroc(fitted.model, toy_root))
    assert metrics("test", fitted, toy_root, tmp_path / "other", image_size=96) == right


def test_predict_mixed_sizes_and_draw(fitted: Fitted, tmp_path: Path) -> None:
    sizes = [(80, 72), (64, 64), (200, 40)]
    files = [draw(tmp_path / f"new/{i}.png", 60 + i, spot=i == 0, size=size) for i, size in enumerate(sizes)]
    arguments = [f"--data={tmp_path / 'new'}", f"--ckpt_path={fitted.checkpoint}"]
    run = cli("predict", *fitted.variant.options(visualizer=True), *arguments, root=tmp_path)
    predicted = np.concatenate([batch.pred_score.numpy() for batch in run.engine.trainer.predict_loop.predictions])
    alone = np.concatenate([fitted.scores(read_image(file, as_tensor=True)[None]) for file in files])
    assert np.abs(predicted - alone).max() < 1e-4
    assert len(list(tmp_path.rglob("images/**/*.png"))) == len(files)
