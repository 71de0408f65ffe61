# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from anomalib_fsad.compare.metrics import at_common_threshold
from anomalib_fsad.compare.normals import MOST_FITS, TARGET_FPR, folds, threshold_of
from anomalib_fsad.threshold import threshold_from_normals


class Nearest(nn.Module):
    """Scores an image by its distance in brightness to the nearest that it knows."""

    def __init__(self) -> None:
        super().__init__()
        self.known = []
        self.device = "cpu"
        self.pre_processor = nn.Identity()

    def model(self, images):
        return SimpleNamespace(pred_score=torch.stack([(images.mean() - k).abs() for k in self.known]).min())


class Compares(Nearest):
    """Tells of its supports what each would score by the others, as D24FAD does."""

    def __init__(self) -> None:
        super().__init__()
        self.model = SimpleNamespace(
            support=SimpleNamespace(images=torch.zeros(5, 3, 2, 2)),
            leave_one_out=lambda size: [SimpleNamespace(pred_score=torch.tensor([score])) for score in LEFT_OUT],
        )


BRIGHTNESS = [1.0, 2.0, 4.0, 8.0, 16.0]
LEFT_OUT = [1.0, 1.0, 2.0, 4.0, 8.0]  # the distance of each to the nearest other


class Images(list):
    @staticmethod
    def collate_fn(items):
        return items


@pytest.fixture
def datamodule():
    items = Images(SimpleNamespace(image=torch.full((3, 2, 2), value), gt_label=0) for value in BRIGHTNESS)
    support = [SimpleNamespace(image=torch.stack([item.image for item in items]))]
    return SimpleNamespace(
        train_data=items,
        val_data=[*items, SimpleNamespace(image=torch.full((3, 2, 2), 99.0), gt_label=1)],
        support_dataloader=lambda: support,
        train_batch_size=2,
    )


def trained(loader):
    model = Nearest()
    model.known = [item.image.mean() for batch in loader for item in batch]
    return model


def test_a_model_that_takes_supports_compares_each_with_the_others(datamodule):
    threshold = threshold_of(Compares(), datamodule, "episodic", trained)
    assert threshold == pytest.approx(threshold_from_normals(LEFT_OUT, TARGET_FPR).value)


def test_any_other_model_is_trained_on_the_others(datamodule):
    threshold = threshold_of(Nearest(), datamodule, "few_shot", trained)
    # Five images in four parts: the first two are left out together.
    expected = [3.0, 2.0, *LEFT_OUT[2:]]
    assert threshold == pytest.approx(threshold_from_normals(expected, TARGET_FPR).value)


def test_with_many_normals_those_held_out_are_scored(datamodule):
    model = Nearest()
    model.known = [torch.tensor(0.0)]
    assert threshold_of(model, datamodule, "one_class", trained) == pytest.approx(
        threshold_from_normals(BRIGHTNESS, TARGET_FPR).value
    )


def test_two_images_make_no_threshold_and_are_not_trained_on(datamodule):
    del datamodule.train_data[2:]

    def refuse(loader):
        raise AssertionError(loader)

    assert np.isnan(threshold_of(Nearest(), datamodule, "few_shot", refuse))


def test_every_image_is_left_out_once():
    parts = list(folds(20, MOST_FITS))
    assert len(parts) == MOST_FITS
    assert sorted(i for left_out, _ in parts for i in left_out) == list(range(20))
    assert all(sorted(left_out + rest) == list(range(20)) for left_out, rest in parts)


def test_what_a_threshold_amounts_to():
    scores, labels = torch.tensor([0.1, 0.6, 0.7, 0.9]), torch.tensor([0, 0, 1, 1])
    assert at_common_threshold(scores, labels, 0.5) == pytest.approx({"normals_F1": 0.8, "normals_FPR": 0.5})
    assert at_common_threshold(scores, labels, None) == {}
    assert all(np.isnan(value) for value in at_common_threshold(scores, labels, float("nan")).values())
