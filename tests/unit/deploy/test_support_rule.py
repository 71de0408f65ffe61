# SPDX-License-Identifier: Apache-2.0
"""The same folder, K and seed are the same images to a bundle as to the datamodule and the model."""

import pytest

from anomalib_fsad.data.readers import to_table
from anomalib_fsad.data.splits import read_support_folder
from anomalib_fsad.deploy import FewShotInferencer
from tests.unit.deploy.conftest import Deployed


@pytest.mark.parametrize(("k_shot", "seed"), [(1, 0), (3, 111)])
def test_a_bundle_enrols_what_the_datamodule_takes(deployed: Deployed, k_shot: int, seed: int) -> None:
    enrolment = FewShotInferencer(deployed.bundle).enroll(deployed.normals, k_shot=k_shot, seed=seed, target_fpr=None)
    taken = read_support_folder(deployed.normals, "organ", k_shot, seed, tests=to_table([], "organ"))
    assert list(enrolment.names) == list(taken["image_path"])
