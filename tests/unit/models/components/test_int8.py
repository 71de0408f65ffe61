# SPDX-License-Identifier: Apache-2.0
import numpy as np

from anomalib_fsad.models.components.int8 import scores_off


def test_what_changes_within_a_category_is_not_hidden_by_what_lies_between_two() -> None:
    names = np.array(["a"] * 4 + ["b"] * 4)
    expected = np.array([0.0, 1, 2, 3, 100, 101, 102, 103])
    turned = np.array([3.0, 2, 1, 0, 100, 101, 102, 103])
    assert scores_off(turned, expected, names) > 1
    assert scores_off(expected + 0.01, expected, names) < 0.01


def test_single_images_say_nothing() -> None:
    assert scores_off(np.array([1.0, 2.0]), np.array([1.0, 3.0]), np.array(["a", "b"])) == 0
