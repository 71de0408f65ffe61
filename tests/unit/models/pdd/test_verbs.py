# SPDX-License-Identifier: Apache-2.0
"""Every verb of the command line, and the inferencers, on one fitted checkpoint."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from anomalib.data.utils import read_image
from anomalib.deploy import OpenVINOInferencer, TorchInferencer
from anomalib.engine import Engine

from anomalib_fsad import PDD
from tests.conftest import cli, folder_arguments, same_as_test_arguments, toy_test_auroc
from tests.unit.models.pdd.conftest import TINY, model_arguments


def files(root: Path) -> list[Path]:
    return sorted((root / "test/bad").iterdir())


def images(root: Path) -> torch.Tensor:
    """Test images as anomalib reads them, N x 3 x 72 x 80: larger than the model's input."""
    return torch.stack([read_image(path, as_tensor=True) for path in files(root)])


@pytest.fixture(scope="module")
def eager(pdd_checkpoint: Path) -> PDD:
    return PDD.load_from_checkpoint(pdd_checkpoint, map_location="cpu").eval()


def test_train_fits_and_tests(toy_root: Path, tmp_path: Path) -> None:
    run = cli("train", *model_arguments(max_epochs=1), *folder_arguments(toy_root), root=tmp_path)
    assert {"image_AUROC", "image_F1Score"} <= set(run.engine.trainer.callback_metrics)


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_evaluation_from_a_checkpoint(
    verb: str, pdd_checkpoint: Path, eager: PDD, toy_root: Path, tmp_path: Path
) -> None:
    arguments = [*model_arguments(), *same_as_test_arguments(toy_root), f"--ckpt_path={pdd_checkpoint}"]
    run = cli(verb, *arguments, root=tmp_path)
    assert run.engine.trainer.callback_metrics["image_AUROC"] == pytest.approx(toy_test_auroc(eager, toy_root))


def test_predict_needs_the_checkpoint_alone(pdd_checkpoint: Path, eager: PDD, toy_root: Path, tmp_path: Path) -> None:
    engine = Engine(default_root_dir=tmp_path, accelerator="cpu", devices=1, enable_progress_bar=False)
    model = PDD(TINY["teachers"], pre_trained=False)  # of another size: the checkpoint's transform decides
    batches = engine.predict(model, data_path=toy_root / "test/bad", ckpt_path=pdd_checkpoint)
    scores = torch.cat([batch.pred_score for batch in batches])
    assert torch.allclose(scores, eager(images(toy_root)).pred_score, atol=1e-4)
    assert list(tmp_path.rglob("images/**/*.png")), "no picture was drawn"


@pytest.mark.cli
def test_fresh_process_without_the_data_gives_the_same_scores(
    pdd_checkpoint: Path, eager: PDD, toy_root: Path, tmp_path: Path
) -> None:
    batch = images(toy_root)
    torch.save(batch, tmp_path / "images.pt")
    code = (
        "import sys, torch; from anomalib_fsad import PDD; "
        "model = PDD.load_from_checkpoint(sys.argv[1], map_location='cpu').eval(); "
        "torch.save(model(torch.load(sys.argv[2])).pred_score, sys.argv[3])"
    )
    arguments = [pdd_checkpoint, tmp_path / "images.pt", tmp_path / "scores.pt"]
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)], check=True)
    assert torch.allclose(torch.load(tmp_path / "scores.pt"), eager(batch).pred_score, atol=1e-6)


def export(checkpoint: Path, root: Path, kind: str, *more: str) -> Path:
    where = [f"--ckpt_path={checkpoint}", f"--export_root={root}"]
    cli("export", *model_arguments(), f"--export_type={kind}", *where, *more, root=root)
    return root / "weights" / kind


def test_torch_inferencer_equals_eager(
    pdd_checkpoint: Path, eager: PDD, toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    inferencer = TorchInferencer(export(pdd_checkpoint, tmp_path, "torch") / "model.pt", device="cpu")
    for path, image in zip(files(toy_root), images(toy_root), strict=True):
        score = inferencer.predict(path).pred_score
        assert not score.requires_grad
        assert torch.allclose(score, eager(image[None]).pred_score, atol=1e-4)


def assert_exact(run: Callable[[np.ndarray], dict[str, np.ndarray]], eager: PDD, root: Path) -> None:
    """Scores and maps are eager's for images larger than the model's input, equal to it, and of another shape."""
    for size in ((72, 80), (64, 64), (40, 200)):
        batch = torch.nn.functional.interpolate(images(root), size)
        expected, actual = eager(batch), run(batch.numpy())
        assert np.abs(actual["pred_score"] - expected.pred_score.numpy()).max() < 1e-4
        assert np.abs(actual["anomaly_map"] - expected.anomaly_map.numpy()).max() < 1e-4


@pytest.mark.slow
def test_openvino_equals_eager(
    pdd_checkpoint: Path, eager: PDD, toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the inferencer puts its cache into the working directory
    path = export(pdd_checkpoint, tmp_path, "openvino") / "model.xml"
    network = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert_exact(lambda batch: {out.any_name: value for out, value in network(batch).items()}, eager, toy_root)
    inferencer = OpenVINOInferencer(path, device="CPU")
    for image, tensor in zip(files(toy_root), images(toy_root), strict=True):
        assert np.abs(inferencer.predict(image).pred_score - eager(tensor[None]).pred_score.numpy()).max() < 1e-4


@pytest.mark.slow
def test_onnx_equals_eager(pdd_checkpoint: Path, eager: PDD, toy_root: Path, tmp_path: Path) -> None:
    path = export(pdd_checkpoint, tmp_path, "onnx")
    assert [file.name for file in path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(path / "model.onnx")
    names = [output.name for output in session.get_outputs()]
    given = session.get_inputs()[0].name
    assert_exact(lambda batch: dict(zip(names, session.run(None, {given: batch}), strict=True)), eager, toy_root)


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["FP16", "INT8_PTQ"])
def test_compressed_openvino_draws_the_same_map(
    compression: str,
    pdd_checkpoint: Path,
    eager: PDD,
    toy_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    more = [f"--compression_type={compression}", *folder_arguments(toy_root)]
    inferencer = OpenVINOInferencer(export(pdd_checkpoint, tmp_path, "openvino", *more) / "model.xml", device="CPU")
    maps = np.concatenate([inferencer.predict(path).anomaly_map.ravel() for path in files(toy_root)])
    expected = eager(images(toy_root)).anomaly_map.numpy().ravel()
    assert np.corrcoef(maps, expected)[0, 1] > 0.95
