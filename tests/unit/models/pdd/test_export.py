# SPDX-License-Identifier: Apache-2.0
"""Two teachers in one OpenVINO file; the whole command line is in ``test_verbs.py``."""

import numpy as np
import openvino
import torch

from anomalib_fsad import PDD
from tests.unit.models.pdd.conftest import TINY


def test_a_pair_in_openvino_equals_eager(tmp_path):
    model = PDD(**{**TINY, "image_size": 32}).eval()
    path = model.to_openvino(tmp_path)
    assert sorted(file.suffix for file in path.parent.iterdir()) == [".bin", ".xml"]
    network = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count, height, width in ((1, 32, 32), (3, 50, 41)):
        images = torch.rand(count, 3, height, width)
        expected, actual = model(images), {out.any_name: value for out, value in network(images.numpy()).items()}
        assert np.abs(actual["pred_score"] - expected.pred_score.numpy()).max() < 1e-4
        assert np.abs(actual["anomaly_map"] - expected.anomaly_map.numpy()).max() < 1e-4
