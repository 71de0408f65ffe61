# SPDX-License-Identifier: Apache-2.0
"""What is exported scores as the checkpoint does, on any processor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from anomalib.deploy import OpenVINOInferencer, TorchInferencer
from torchvision.transforms.v2.functional import resize

from anomalib_fsad.models.components.export import ExactResize
from tests.conformance.conftest import Fitted, Graded, export
from tests.conformance.test_scores import assert_same_verdicts
from tests.conftest import same_as_test_arguments

PRECISIONS = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture(scope="module")
def network(onnx_file: Path) -> openvino.Model:
    """What ``anomalib export --export_type openvino`` converts."""
    return openvino.convert_model(onnx_file)


def compiled(network: openvino.Model | Path, precision: str) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    ready = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return lambda batch: {output.any_name: value for output, value in ready(batch).items()}


def scores(run: Callable[[np.ndarray], dict[str, np.ndarray]], images: torch.Tensor) -> np.ndarray:
    return np.concatenate([run(batch.numpy())["pred_score"] for batch in images.split(16)])


def assert_exact(run: Callable[[np.ndarray], dict[str, np.ndarray]], model: Any, images: torch.Tensor) -> None:
    """Scores and maps are eager's for images larger than the model's input, equal to it, and of another shape."""
    for size in ((72, 80), (64, 64), (40, 200)):
        batch = torch.nn.functional.interpolate(images, size)
        expected, actual = model(batch), run(batch.numpy())
        assert np.abs(actual["pred_score"] - expected.pred_score.numpy()).max() < 1e-4
        assert np.abs(actual["anomaly_map"] - expected.anomaly_map.numpy()).max() < 1e-4


def test_torch(fitted: Fitted, graded: Graded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    inferencer = TorchInferencer(export(fitted, "torch", tmp_path) / "model.pt", device="cpu")
    for file, image in zip(graded.files[::16], graded.images[::16], strict=True):
        score = inferencer.predict(file).pred_score
        assert not score.requires_grad
        torch.testing.assert_close(score, fitted.model(image[None]).pred_score, atol=1e-4, rtol=0)


def test_onnx(fitted: Fitted, onnx_file: Path, graded: Graded) -> None:
    assert [file.name for file in onnx_file.parent.iterdir()] == ["model.onnx"]
    assert onnx.load(onnx_file).opset_import[0].version == 18
    session = onnxruntime.InferenceSession(onnx_file)
    names = [output.name for output in session.get_outputs()]
    run: Callable[[np.ndarray], dict[str, np.ndarray]] = lambda batch: dict(  # noqa: E731
        zip(names, session.run(None, {session.get_inputs()[0].name: batch}), strict=True)
    )
    assert_exact(run, fitted.model, graded.images[::16])


def test_openvino(fitted: Fitted, network: openvino.Model, graded: Graded) -> None:
    assert_exact(compiled(network, "f32"), fitted.model, graded.images[::16])


needs_bfloat16 = pytest.mark.skipif("BF16" not in PRECISIONS, reason="this processor has no bfloat16")


@needs_bfloat16
@pytest.mark.parametrize("size", [(72, 80), (700, 900)])
def test_bfloat16_rounds_pixels_and_not_places(size: tuple[int, int], tmp_path: Path) -> None:
    """Resizing comes before the networks, where OpenVINO computes in bfloat16."""
    images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    sizes = ({0: "batch", 2: "height", 3: "width"},)
    options = {"dynamo": True, "opset_version": 18, "external_data": False, "dynamic_shapes": sizes}
    torch.onnx.export(torch.nn.Sequential(ExactResize((64, 64))), (images,), tmp_path / "resize.onnx", **options)
    ready = openvino.compile_model(tmp_path / "resize.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    expected = resize(images, [64, 64], antialias=True)
    assert np.abs(ready(images.numpy())[0] - expected.numpy()).max() < 0.012


@needs_bfloat16
def test_openvino_in_bfloat16(detector: Fitted, network: openvino.Model, graded: Graded) -> None:
    actual = scores(compiled(network, "bf16"), graded.images)
    assert_same_verdicts(actual, detector.scores(graded.images), graded.labels)


def test_openvino_fp16(
    detector: Fitted, network: openvino.Model, graded: Graded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of 16 bits, through anomalib's inferencer, at the precision that the device prefers."""
    monkeypatch.chdir(tmp_path)  # the inferencer puts its cache into the working directory
    openvino.save_model(network, "model.xml", compress_to_fp16=True)
    inferencer = OpenVINOInferencer(tmp_path / "model.xml", device="CPU")
    actual = np.array([inferencer.predict(file).pred_score.item() for file in graded.files])
    assert_same_verdicts(actual, detector.scores(graded.images), graded.labels)


@pytest.mark.slow
def test_openvino_int8(detector: Fitted, graded: Graded, graded_root: Path, tmp_path: Path) -> None:
    more = ["--compression_type=INT8_PTQ", *same_as_test_arguments(graded_root)]
    path = export(detector, "openvino", tmp_path, *more) / "model.xml"
    kinds = [operation.get_type_name() for operation in openvino.Core().read_model(path).get_ops()]
    assert kinds.count("FakeQuantize") > 20
    actual = scores(compiled(path, "f32"), graded.images)
    assert_same_verdicts(actual, detector.scores(graded.images), graded.labels)
