# SPDX-License-Identifier: Apache-2.0
"""The verbs of the command line on one checkpoint; ``test_lightning_model.py`` has what else hangs on it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.data.utils import read_image
from anomalib.deploy import OpenVINOInferencer, TorchInferencer

from anomalib_fsad import D24FAD
from tests.conftest import cli, same_as_test_arguments, toy_test_auroc

MODEL = (
    "--model=anomalib_fsad.D24FAD",
    "--model.backbone=resnet18",
    "--model.pre_trained=false",
    "--model.image_size=64",
    "--model.k_shot=2",
)


@pytest.fixture(scope="module")
def checkpoint(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs on five images, by ``anomalib fit``."""
    results = tmp_path_factory.mktemp("results")
    more = ("--model.max_epochs=2", "--model.lr=0.001")
    cli("fit", *MODEL, *more, *same_as_test_arguments(toy_root), root=results)
    (path,) = results.rglob("*.ckpt")
    return path


@pytest.fixture(scope="module")
def eager(checkpoint: Path) -> D24FAD:
    return D24FAD.load_from_checkpoint(checkpoint, map_location="cpu").eval()


def pictures(root: Path) -> list[Path]:
    return [path for kind in ("good", "bad") for path in sorted((root / "test" / kind).iterdir())]


def eager_scores(model: D24FAD, root: Path) -> torch.Tensor:
    return torch.cat([model(read_image(path, as_tensor=True)[None]).pred_score for path in pictures(root)])


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_evaluation_from_a_checkpoint(
    verb: str, checkpoint: Path, eager: D24FAD, toy_root: Path, tmp_path: Path
) -> None:
    run = cli(verb, *MODEL, *same_as_test_arguments(toy_root), f"--ckpt_path={checkpoint}", root=tmp_path)
    assert run.engine.trainer.callback_metrics["image_AUROC"] == pytest.approx(toy_test_auroc(eager, toy_root))


def export(kind: str, checkpoint: Path, root: Path, *more: str) -> Path:
    where = [f"--ckpt_path={checkpoint}", f"--export_root={root}"]
    cli("export", *MODEL, f"--export_type={kind}", *where, *more, root=root)
    return root / "weights" / kind


def test_torch_export(
    checkpoint: Path, eager: D24FAD, toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    inferencer = TorchInferencer(export("torch", checkpoint, tmp_path) / "model.pt", device="cpu")
    scores = torch.cat([inferencer.predict(path).pred_score for path in pictures(toy_root)])
    torch.testing.assert_close(scores, eager_scores(eager, toy_root), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("compression", "tolerance"), [("FP16", 0.02), ("INT8_PTQ", 0.15)])
def test_compressed_openvino_export(
    compression: str,
    tolerance: float,
    checkpoint: Path,
    eager: D24FAD,
    toy_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # the inferencer puts its cache into the working directory
    more = [f"--compression_type={compression}", *same_as_test_arguments(toy_root)]
    path = export("openvino", checkpoint, tmp_path, *more) / "model.xml"
    inferencer = OpenVINOInferencer(path, device="CPU")
    scores = np.array([inferencer.predict(picture).pred_score.item() for picture in pictures(toy_root)])
    expected = eager_scores(eager, toy_root).numpy()
    assert np.ptp(expected) > 0.5
    assert np.abs(scores - expected).max() < tolerance
