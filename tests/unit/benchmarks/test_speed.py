# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pandas as pd
import pytest
import torch

from anomalib_fsad.compare.cells import Overrides, read_cells
from anomalib_fsad.plugin import register
from benchmarks.speed.models import (
    OPENVINO,
    _training_batch,
    eager,
    fitted,
    markdown,
    openvino,
    timed,
    training_step,
    with_ratios,
)

CONFIGS = Path(__file__).parents[3] / "configs" / "benchmark"


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    register()
    folder = tmp_path_factory.mktemp("speed")
    options = {"data.reader_args": {"image_size": 64, "n_train": 6, "n_test": 2}, "data.val_images": 2}
    given = Overrides(
        root=str(folder / "data"), targets=["fundus"], seeds=[0], backbone="resnet18", image_size=64, options=options
    )

    def build(name: str):
        (cell,) = read_cells([CONFIGS / f"quick_{name}.yaml"], given)
        return fitted(cell, None, folder / "weights")

    return build


@pytest.mark.parametrize("name", ["d24fad", "scrd4ad", "reverse_distillation"])
def test_a_step_trains_and_inference_scores(fit, name):
    model, datamodule = fit(name)
    infer = eager(model, torch.rand(2, 3, 64, 64), amp=False)
    before = [parameter.clone() for parameter in model.parameters() if parameter.requires_grad]
    device = torch.device("cpu")
    step = training_step(model, _training_batch(datamodule, 4, device, torch.contiguous_format), amp=False)
    times = timed({name: step}, rounds=1, device=device)
    assert times[name] > 0
    after = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert infer().pred_score.numel() == 2


def test_a_memory_bank_has_no_step(fit):
    model, datamodule = fit("padim")
    batch = _training_batch(datamodule, 4, torch.device("cpu"), torch.contiguous_format)
    assert training_step(model, batch, amp=False) is None


@pytest.mark.slow
def test_openvino_in_three_precisions(fit, tmp_path):
    model, datamodule = fit("scrd4ad")
    images = torch.rand(2, 3, 64, 64)
    runs = openvino(model, datamodule, images, tmp_path)
    assert set(runs) == set(OPENVINO)
    wanted = eager(model, images, amp=False)().pred_score
    (scores,) = [value for key, value in runs["OpenVINO FP32"]().to_dict().items() if "pred_score" in key.get_names()]
    assert torch.from_numpy(scores).flatten().tolist() == pytest.approx(wanted.flatten().tolist(), abs=1e-4)
    assert all(run() is not None for run in runs.values())


def test_ratios_are_to_reverse_distillation():
    rows = pd.DataFrame(
        [
            {"model": model, "task": task, "form": "eager", "ms": ms}
            for model, task, ms in (
                ("PDD", "inference", 30.0),
                ("ReverseDistillation", "inference", 20.0),
                ("ReverseDistillation", "training step", 50.0),
                ("PDD", "training step", 25.0),
                ("Padim", "inference", 10.0),
            )
        ]
    )
    ratios = with_ratios(rows).set_index(["model", "task"])["ratio"]
    assert ratios["PDD", "inference"] == 1.5
    assert ratios["PDD", "training step"] == 0.5
    assert ratios["ReverseDistillation", "inference"] == 1
    assert "| Padim | 10.0 (0.50) | - |" in markdown(with_ratios(rows))
