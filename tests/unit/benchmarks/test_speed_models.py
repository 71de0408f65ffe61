# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from anomalib_fsad.compare.building import Teachers
from anomalib_fsad.compare.cells import Overrides, cells_of
from anomalib_fsad.compare.comparison import benchmarks_of
from anomalib_fsad.plugin import register
from benchmarks.speed.models import (
    ONNX,
    OPENVINO,
    eager,
    exported_forms,
    fitted,
    training_batch,
    training_step,
)


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    register()
    folder = tmp_path_factory.mktemp("speed")
    options = {
        "data.reader": "phantom",
        "data.reader_args": {"image_size": 64, "n_train": 6, "n_test": 2},
        "data.val_images": 2,
        "data.num_workers": 0,
    }
    given = Overrides(
        root=str(folder / "data"), targets=["fundus"], seeds=[0], backbone="resnet18", image_size=64, options=options
    )

    def build(name: str):
        (cell,) = cells_of(benchmarks_of([name], few_shot=False), given)
        return fitted(cell, Teachers(pre_trained=False, scratch=folder / "weights"))

    return build


@pytest.mark.parametrize("name", ["D24FAD", "SCRD4AD", "ReverseDistillation"])
def test_a_step_trains_and_inference_scores(fit, name):
    model, datamodule = fit(name)
    infer = eager(model, torch.rand(2, 3, 64, 64), amp=False)
    before = [parameter.clone() for parameter in model.parameters() if parameter.requires_grad]
    device = torch.device("cpu")
    step = training_step(model, training_batch(datamodule, 4, device, torch.contiguous_format), amp=False)
    step()
    after = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert infer().pred_score.numel() == 2


def test_a_memory_bank_has_no_step(fit):
    model, datamodule = fit("Padim")
    batch = training_batch(datamodule, 4, torch.device("cpu"), torch.contiguous_format)
    assert training_step(model, batch, amp=False) is None


@pytest.mark.slow
def test_openvino_in_three_precisions(fit, tmp_path):
    model, datamodule = fit("SCRD4AD")
    images = torch.rand(2, 3, 64, 64)
    runs = exported_forms(model, datamodule, images, tmp_path)
    assert set(OPENVINO) <= set(runs) <= {*OPENVINO, ONNX}
    wanted = eager(model, images, amp=False)().pred_score
    (scores,) = [value for key, value in runs["OpenVINO FP32"]().to_dict().items() if "pred_score" in key.get_names()]
    assert torch.from_numpy(scores).flatten().tolist() == pytest.approx(wanted.flatten().tolist(), abs=1e-4)
    assert all(run() is not None for run in runs.values())
