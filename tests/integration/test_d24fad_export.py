# SPDX-License-Identifier: Apache-2.0
"""One forward: what is exported scores as the engine does, whatever the size of the images."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from anomalib.data.utils import read_image
from anomalib.deploy import OpenVINOInferencer, TorchInferencer
from anomalib.engine import Engine

from anomalib_fsad import D24FAD
from anomalib_fsad.models.components.export import outside_networks, quantize_networks
from tests.conftest import draw, toy_folder

SIZES = [(80, 72), (64, 64), (257, 190)]


@pytest.fixture(scope="module")
def model(toy_root, tmp_path_factory) -> D24FAD:
    """Fitted for two epochs, so that scores are spread and the post-processor has its limits."""
    run = Engine(
        max_epochs=2,
        accelerator="cpu",
        default_root_dir=tmp_path_factory.mktemp("fit"),
        logger=False,
        enable_progress_bar=False,
    )
    fitted = D24FAD(k_shot=2, backbone="resnet18", pre_trained=False, image_size=64, lr=1e-3, visualizer=False)
    run.fit(model=fitted, datamodule=toy_folder(toy_root))
    return fitted.eval()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    return [draw(folder / f"{i}.png", 60 + i, spot=i % 2 == 0, size=size) for i, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> Path:
    """With anomalib's defaults: no input size, so height and width are dynamic."""
    return model.to_onnx(tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="module")
def engine_scores(model, pictures, tmp_path_factory) -> dict[str, tuple[float, np.ndarray]]:
    run = Engine(
        accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path_factory.mktemp("p")
    )
    batches = run.predict(model=model, data_path=pictures[0].parent)
    return {
        path: (score.item(), amap.squeeze().numpy())
        for batch in batches
        for path, score, amap in zip(batch.image_path, batch.pred_score, batch.anomaly_map, strict=True)
    }


def test_onnx_is_one_file_at_opset_18_and_scores_like_the_engine(exported, engine_scores, pictures):
    assert [file.name for file in exported.parent.iterdir()] == ["model.onnx"]
    assert onnx.load(exported).opset_import[0].version == 18
    session = onnxruntime.InferenceSession(exported)
    for picture in pictures:
        score, amap = session.run(
            ["pred_score", "anomaly_map"], {"input": read_image(picture, as_tensor=True)[None].numpy()}
        )
        assert score[0] == pytest.approx(engine_scores[str(picture)][0], abs=1e-4)
        assert np.abs(amap.squeeze() - engine_scores[str(picture)][1]).max() < 1e-4


def test_openvino_and_its_inferencer(model, engine_scores, pictures, tmp_path):
    inferencer = OpenVINOInferencer(model.to_openvino(tmp_path), device="CPU")
    for picture in pictures:
        prediction = inferencer.predict(picture)
        assert prediction.pred_score.item() == pytest.approx(engine_scores[str(picture)][0], abs=1e-4)


def test_torch_inferencer(model, engine_scores, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    inferencer = TorchInferencer(model.to_torch(tmp_path), device="cpu")
    for picture in pictures:
        score = inferencer.predict(picture).pred_score
        assert score.numpy().item() == pytest.approx(engine_scores[str(picture)][0], abs=1e-4)  # no gradient in it


def test_int8_quantises_the_networks_and_keeps_the_scores(model, exported, toy_root):
    network = openvino.convert_model(exported)
    data = toy_folder(toy_root)
    data.setup("fit")
    data.eval_batch_size = 1
    outside = set(outside_networks(network))
    kinds = {op.get_friendly_name(): op.get_type_name() for op in network.get_ordered_ops()}
    assert {"Softmax", "ReduceL2"} & {kinds[name] for name in outside}  # the weights, the cosines
    kept = [name for name, kind in kinds.items() if kind == "Convolution" and name not in outside]
    assert len(kept) >= 25  # teacher and student
    quantised = openvino.compile_model(quantize_networks(network, data.val_dataloader()), "CPU")
    images = [read_image(path, as_tensor=True)[None] for path in sorted((toy_root / "test").rglob("*.png"))]
    expected = np.array([model(image).pred_score.item() for image in images])
    actual = np.array([quantised(image.numpy())["pred_score"].item() for image in images])
    assert np.ptp(expected) > 0.5
    assert np.abs(actual - expected).max() < 0.1
