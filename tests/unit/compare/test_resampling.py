# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalib_fsad.compare.metrics import image_metrics, pixel_metrics, to_unit
from anomalib_fsad.compare.resampling import draw_counts, interval, resampled_metrics

METRICS = ["image_AUROC", "image_AP", "image_F1Max", "image_SpecAt95Recall"]

# Few different values, so that there are ties.
labelled = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=4, max_size=40).filter(
    lambda pairs: len({label for _, label in pairs}) == 2
)


@settings(max_examples=60, deadline=None)
@given(pairs=labelled)
def test_undrawn_metrics_are_those_of_torchmetrics_and_anomalib(pairs):
    scores = np.array([score for score, _ in pairs], dtype=float)
    labels = np.array([label for _, label in pairs], dtype=np.int64)
    ours = resampled_metrics(scores, labels, np.ones((1, len(labels)), dtype=np.int64))
    theirs = image_metrics(torch.from_numpy(scores), torch.from_numpy(labels), threshold=3.0)
    for metric in METRICS:
        assert ours[metric][0] == pytest.approx(theirs[metric], abs=1e-6), metric


@settings(max_examples=30, deadline=None)
@given(pairs=labelled, seed=st.integers(0, 1000))
def test_a_drawn_metric_is_that_of_the_images_repeated(pairs, seed):
    scores = np.array([score for score, _ in pairs], dtype=float)
    labels = np.array([label for _, label in pairs], dtype=np.int64)
    counts = draw_counts(labels, draws=3, seed=seed)
    drawn = resampled_metrics(scores, labels, counts)
    for draw in range(3):
        repeated, names = np.repeat(scores, counts[draw]), np.repeat(labels, counts[draw])
        plain = resampled_metrics(repeated, names, np.ones((1, len(names)), dtype=np.int64))
        for metric in METRICS:
            assert drawn[metric][draw] == pytest.approx(plain[metric][0], abs=1e-9), metric


def test_draws_keep_the_number_of_each_class_and_follow_the_seed():
    labels = np.array([0] * 7 + [1] * 3)
    counts = draw_counts(labels, draws=50, seed=1)
    assert (counts[:, :7].sum(1) == 7).all()
    assert (counts[:, 7:].sum(1) == 3).all()
    assert (counts == draw_counts(labels, draws=50, seed=1)).all()
    assert (counts != draw_counts(labels, draws=50, seed=2)).any()


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth, covered = 0.7602, 0  # Phi(1 / sqrt 2): abnormal scores one deviation above normal ones
    labels = np.array([0] * 60 + [1] * 60)
    for repeat in range(100):
        scores = rng.normal(size=120) + labels
        draws = resampled_metrics(scores, labels, draw_counts(labels, 300, repeat))["image_AUROC"]
        low, high = interval(draws)
        covered += low <= truth <= high
    assert 85 <= covered <= 100


def test_large_scores_stay_apart():
    """A sigmoid would make these equal."""
    scores = torch.tensor([40.0, 41.0, 42.0, 43.0])
    assert image_metrics(scores, torch.tensor([0, 0, 1, 1]), 41.5) == pytest.approx(
        {
            "image_AUROC": 1.0,
            "image_AP": 1.0,
            "image_F1Max": 1.0,
            "image_SpecAt95Recall": 1.0,
            "image_F1Score": 1.0,
        }
    )
    assert to_unit(scores).tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_without_a_threshold_nothing_is_called_abnormal():
    values = image_metrics(torch.tensor([0.1, 0.9]), torch.tensor([0, 1]), float("nan"))
    assert values["image_F1Score"] == 0
    assert values["image_AUROC"] == 1


def test_a_map_that_equals_its_mask_is_perfect():
    masks = torch.zeros(2, 16, 16, dtype=torch.int)
    masks[0, 4:8, 4:8] = 1
    values = pixel_metrics(masks.float() * 7 + 3, masks)
    assert values == pytest.approx({"pixel_AUROC": 1.0, "pixel_AUPRO": 1.0}, abs=0.02)
