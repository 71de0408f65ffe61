# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.accuracy.leaks import NO_BLUR, SIGMA, compare, first_of_each, scores_across, scores_each, summary


@pytest.fixture
def weak():
    """Maps of noise, a little higher in abnormal images: hardly a detector."""
    rng = np.random.default_rng(0)
    labels = np.array([0] * 64 + [1] * 64)
    maps = rng.normal(size=(128, 32, 32)) + 0.5 * rng.normal(size=(128, 1, 1)) + 0.2 * labels[:, None, None]
    return maps.astype(np.float32), labels


def test_blurring_across_a_class_ordered_list_leaks_the_label(weak):
    ways = compare(*weak, batch_size=16, seed=0)
    assert ways["each image by itself"] < 0.75
    assert ways["blurred across, by class"] > ways["each image by itself"] + 0.15
    assert ways["blurred across, shuffled"] < ways["blurred across, by class"] - 0.15


def test_a_batch_of_one_leaks_nothing(weak):
    maps, _ = weak
    assert scores_across(maps[:4], batch_size=1) == pytest.approx(scores_each(maps[:4]), abs=1e-6)


def test_one_in_ten():
    scores, labels = first_of_each(np.arange(25.0), np.array([0] * 15 + [1] * 10), 10)
    assert scores.tolist() == [0, 10, 20]
    assert labels.tolist() == [0, 1, 1]  # the second batch is called abnormal for its last images


def test_the_narrow_gaussian_leaves_a_map_alone():
    import torch

    from anomalib_fsad.models.components import gaussian_blur

    maps = torch.rand(2, 1, 40, 40)
    assert (gaussian_blur(maps, NO_BLUR) - maps).abs().max() < 2e-5
    assert (gaussian_blur(maps, SIGMA) - maps).abs().max() > 0.1


def test_the_table_has_a_mean_over_targets():
    rows = [
        {"model": "D24FAD", "target": target, "seed": seed, "way": value}
        for target, seed, value in (("a", 0, 0.5), ("a", 1, 0.7), ("b", 0, 0.9), ("b", 1, 0.9))
    ]
    text = summary(pd.DataFrame(rows)).markdown(Path())
    assert "| a | 60.0 ± 14.1 |" in text
    assert "| mean | 75.0 ± 7.1 |" in text
