# SPDX-License-Identifier: Apache-2.0
"""The bundle of every model says what its checkpoint says: in a process without torch, on both runtimes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from anomalib_fsad import D24FAD, PDD, SCRD4AD
from anomalib_fsad.cli import main
from anomalib_fsad.deploy import FewShotInferencer, export
from anomalib_fsad.deploy.images import images_at
from anomalib_fsad.models.components.checkpoint import save_checkpoint
from tests.unit.deploy.conftest import tensor
from tests.unit.deploy.pictures import write_mixed, write_normals

SIZE = (64, 96)
MODELS: dict[str, Callable[[], Any]] = {
    "nearest": lambda: D24FAD(
        k_shot=3,
        backbone="resnet18",
        pre_trained=False,
        image_size=SIZE,
        matching="nearest",
        spaces=["teacher", "residual"],
        augment_support=True,
        calibrate=True,
        normalize=True,
        threshold="validation",
    ),
    "SCRD4AD": lambda: SCRD4AD(backbone="resnet18", pre_trained=False, image_size=SIZE),
    "PDD": lambda: PDD(backbone="resnet18", second_backbone="vmamba_atto", pre_trained=False, image_size=SIZE),
}

PREDICT = """
import sys
import numpy as np
sys.modules["torch"] = sys.modules["anomalib"] = None  # an import of them would fail
from anomalib_fsad.deploy import FewShotInferencer
bundle, normals, mixed, saved = sys.argv[1:]
found = {}
for backend in ("openvino", "onnx"):
    inferencer = FewShotInferencer(bundle, backend=backend)
    organ = inferencer.enroll(normals, target_fpr=None) if inferencer.bundle.metadata.few_shot else None
    if organ is not None:
        organ.save(saved + ".organ.npz")
        organ = inferencer.load(saved + ".organ.npz")
        found[f"{backend}_normal_scores"] = organ.normal_scores
    for image in mixed.split("|"):
        said = inferencer.predict(image, organ)
        for name in ("score", "label", "anomaly_map", "raw_score", "raw_map", "support_weights_by_scale",
                     "nearest_support", "nearest_box"):
            value = getattr(said, name)
            found.setdefault(f"{backend}_{name}", []).append(-1 if value is None else value)
np.savez(saved, **{name: np.array(values) for name, values in found.items()})
"""


class Case(NamedTuple):
    model: Any
    bundle: Path
    normals: Path
    images: list[Path]
    raw: list[Any]


@torch.no_grad()
def let_it_tell_images_apart(model: Any, images: torch.Tensor) -> None:
    """A random network with statistics of its own."""
    norms = [module for module in model.model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    model.model(images)
    model.eval()


@pytest.fixture(scope="module", params=MODELS)
def case(request, tmp_path_factory) -> Case:
    root = tmp_path_factory.mktemp(request.param)
    normals, images = write_normals(root / "normals", count=3), images_at(write_mixed(root / "mixed"))[::3]
    model = MODELS[request.param]().eval()
    support = [tensor(path) for path in images_at(normals)]
    if isinstance(model, D24FAD):
        model.use_support(support)
    prepared = [model.pre_processor.transform(tensor(path)[None]) for path in images]
    let_it_tell_images_apart(model, torch.cat([model.pre_processor.transform(image[None]) for image in support]))
    if isinstance(model, D24FAD):
        model.use_support(support)
        raw = [model.model.predict_with_weights(image) for image in prepared]
        scores = [explained.predictions.pred_score.item() for explained in raw]
    else:
        raw = [model.model(image) for image in prepared]
        scores = [said.pred_score.item() for said in raw]
    for name in ("image", "pixel"):
        model.post_processor.hold(name, float(np.mean(scores)))
    return Case(model, export(model, root / "bundle").folder, normals, images, raw)


@pytest.fixture(scope="module")
def said(case, tmp_path_factory) -> dict[str, np.ndarray]:
    saved = tmp_path_factory.mktemp("said") / "said.npz"
    arguments = [str(case.bundle), str(case.normals), "|".join(map(str, case.images)), str(saved)]
    subprocess.run([sys.executable, "-c", PREDICT, *arguments], check=True, cwd=Path(__file__).parents[3])
    with np.load(saved) as content:
        return dict(content)


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_says_what_the_checkpoint_says(case, said, backend):
    wanted = [case.model(tensor(path)[None]) for path in case.images]
    # Ten times what is allowed, or equality would say nothing.
    assert np.ptp([want.pred_score.item() for want in wanted]) > 1e-3
    for place, want in enumerate(wanted):
        assert said[f"{backend}_score"][place] == pytest.approx(want.pred_score.item(), abs=1e-4)
        np.testing.assert_allclose(said[f"{backend}_anomaly_map"][place], want.anomaly_map[0, 0], atol=1e-4)
        assert bool(said[f"{backend}_label"][place]) is bool(want.pred_label)
    labels = said[f"{backend}_label"].astype(bool)
    assert set(labels) == {False, True}


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_says_what_it_leant_on(case, said, backend):
    if not isinstance(case.model, D24FAD):
        assert said[f"{backend}_support_weights_by_scale"].size == 0
        assert set(said[f"{backend}_nearest_support"]) == {-1}
        return
    left_out = [verdict.pred_score.item() for verdict in case.model.model.leave_one_out(SIZE)]
    np.testing.assert_allclose(said[f"{backend}_normal_scores"], left_out, rtol=1e-4)
    for place, (_, weights, patch) in enumerate(case.raw):
        np.testing.assert_allclose(said[f"{backend}_support_weights_by_scale"][place], weights[0], atol=0.05)
        assert said[f"{backend}_nearest_support"][place] == patch.support.item()
        np.testing.assert_allclose(said[f"{backend}_nearest_box"][place], patch.box[0], atol=1e-5)


def test_verify_finds_them_alike(case, tmp_path, capsys):
    save_checkpoint(case.model, tmp_path / "model.ckpt")
    command = ["verify", case.bundle, tmp_path / "model.ckpt", case.normals.parent]
    assert main(list(map(str, command))) == 0
    shown = capsys.readouterr()
    assert "raw score" in shown.out
    assert "All within the bound of 0.0001." in shown.err


def test_an_enrolment_only_where_there_is_a_support(case):
    inferencer = FewShotInferencer(case.bundle, backend="openvino")
    if isinstance(case.model, D24FAD):
        with pytest.raises(TypeError, match="of D24FAD needs an enrolment"):
            inferencer.predict(case.images[0])
        return
    name = type(case.model).__name__
    with pytest.raises(ValueError, match=f"holds {name}, which compares with no support images: there is nothing"):
        inferencer.enroll(case.normals)
    metadata = json.loads((case.bundle / "bundle.json").read_text())
    assert set(metadata["files"]) == {"detector.xml", "detector.bin", "detector.onnx"}
    assert len(inferencer.predict(case.images)) == len(case.images)
