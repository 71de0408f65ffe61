# SPDX-License-Identifier: Apache-2.0
"""Drift on phantom sets that differ: more of the same organ, lesions in all of it, other organs, inverted grey."""

from collections.abc import Callable

import numpy as np
import pytest

from anomalib_fsad.data.phantom import make_phantom
from anomalib_fsad.deploy import FewShotInferencer
from anomalib_fsad.deploy.drift import FEWEST, Drift, drift_of

SIZE = 64
NORMALS, IMAGES = 8, 12


def patients(organ: str, first: int, count: int, lesion: str | None = None) -> list[np.ndarray]:
    drawn = (make_phantom(organ, [first + place], SIZE, lesion).image for place in range(count))
    return [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in drawn]


@pytest.fixture(scope="module")
def drift(toy) -> Callable[..., Drift]:
    inferencer = FewShotInferencer(toy.folder)
    enrolments = {organ: inferencer.enroll(patients(organ, 0, NORMALS)) for organ in ("head_ct", "fundus")}

    def of(organ: str, images: list[np.ndarray]) -> Drift:
        found = drift_of([p.level for p in inferencer.predict(images, enrolments[organ])], enrolments[organ])
        assert found is not None
        return found

    return of


@pytest.mark.parametrize("organ", ["head_ct", "fundus"])
def test_more_of_the_same_organ_is_at_home(drift, organ):
    found = drift(organ, patients(organ, 100, IMAGES))
    assert not found.foreign
    assert 0.2 < found.share < 0.8
    lesions = drift(organ, patients(organ, 100, IMAGES, lesion="blob"))
    assert not lesions.foreign


@pytest.mark.parametrize("organ", ["head_ct", "fundus"])
def test_other_organs_and_inverted_grey_are_foreign(drift, organ):
    for other in ("chest_xray", "histology", "retina_oct"):
        assert drift(organ, patients(other, 100, IMAGES)).foreign
    inverted = drift(organ, [255 - image for image in patients(organ, 100, IMAGES)])
    assert inverted.foreign
    assert "these hardly look like the enrolled images" in str(inverted)


def test_of_few_images_nothing_is_said(toy):
    inferencer = FewShotInferencer(toy.folder)
    organ = inferencer.enroll(patients("fundus", 0, NORMALS))
    assert drift_of([1.0] * (FEWEST - 1), organ) is None
    assert drift_of([1.0] * FEWEST, organ).foreign
