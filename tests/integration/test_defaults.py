# SPDX-License-Identifier: Apache-2.0
"""Each model as it comes, ``Model(pre_trained=False)``: one epoch on five images, then exported with dynamic sizes.

Full networks at their full size, PDD with both of the paper's teachers: minutes, so not among the everyday tests.
"""

import numpy as np
import openvino
import pytest
import torch
from anomalib.engine import Engine

from anomalib_fsad import D24FAD, PDD, SCRD4AD
from tests.conftest import toy_folder


@pytest.mark.slow
@pytest.mark.parametrize("model_class", [D24FAD, SCRD4AD, PDD])
def test_no_arguments_but_random_weights(model_class, toy_root, tmp_path):
    model, data = model_class(pre_trained=False), toy_folder(toy_root)
    run = Engine(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, logger=False)
    run.fit(model=model, datamodule=data)
    metrics = run.test(model=model, datamodule=data)[0]
    assert 0 <= metrics["image_AUROC"] <= 1
    model.eval()
    path = run.export(model=model, export_type="openvino", export_root=tmp_path)
    network = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    spread = (model.post_processor.image_max - model.post_processor.image_min).item()
    for height, width in ((256, 256), (300, 280)):
        images = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        expected, actual = model(images), network(images.numpy())
        assert np.abs(actual["anomaly_map"] - expected.anomaly_map.detach().numpy()).max() < 1e-3
        # Scores of one epoch lie close together; normalising spreads them, and float32's last bits with them.
        assert np.abs(actual["pred_score"] - expected.pred_score.detach().numpy()).max() * spread < 1e-5
