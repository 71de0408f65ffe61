# SPDX-License-Identifier: Apache-2.0
"""The verbs on a real model: what they write is what the checkpoint says."""

import copy
import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from anomalib_fsad.cli import main
from anomalib_fsad.deploy.images import images_at
from anomalib_fsad.models.components.checkpoint import save_checkpoint
from tests.unit.deploy.conftest import eager


@pytest.fixture(scope="module")
def organ(deployed, tmp_path_factory):
    path = tmp_path_factory.mktemp("organ") / "organ.npz"
    assert main(["enroll", str(deployed.bundle), str(deployed.normals), str(path), "--target-fpr=none"]) == 0
    return path


def table(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def test_predict_writes_a_table_and_heat_maps(deployed, organ, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", str(deployed.bundle), str(organ), str(deployed.mixed), str(out)]) == 0
    rows = table(out)
    paths = images_at(deployed.mixed)
    assert list(rows) == [path.relative_to(deployed.mixed).as_posix() for path in paths]
    for path in paths:
        row, want = rows[path.relative_to(deployed.mixed).as_posix()], eager(deployed.model, path)
        assert float(row["score"]) == pytest.approx(want.score, abs=1e-4)
        assert row["label"] == ("anomalous" if want.label else "normal")
        weights = [float(row[f"support_{k}"]) for k in range(1, 6)]
        np.testing.assert_allclose(weights, want.weights.mean(axis=0), atol=2e-4)
        assert row["error"] == ""
    maps = {path.relative_to(out / "heat_maps").as_posix() for path in images_at(out / "heat_maps")}
    assert maps == {f"{name}.png" for name in rows}
    assert Image.open(out / "heat_maps/large.jpg.png").size == (150, 200)
    assert "8 images" in capsys.readouterr().err


def inspect(path, capsys):
    capsys.readouterr()
    assert main(["inspect", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_inspect_tells_what_a_file_is(deployed, organ, tmp_path, capsys):
    bundle = inspect(deployed.bundle, capsys)
    assert (bundle["kind"], bundle["model"], bundle["image_size"]) == ("bundle", "D24FAD", [64, 96])
    assert bundle["backends"] == ["openvino", "onnx"]
    enrolment = inspect(organ, capsys)
    assert (enrolment["kind"], len(enrolment["support"])) == ("enrolment", 5)
    assert enrolment["bundle"] == bundle["digest"]
    checkpoint = inspect(deployed.checkpoint, capsys)
    assert (checkpoint["kind"], checkpoint["model"], checkpoint["support"]) == ("checkpoint", "D24FAD", 5)
    assert checkpoint["arguments"]["backbone"] == "resnet18"
    assert checkpoint["statistics"]["image_threshold"] == pytest.approx(bundle["post_processing"]["image_threshold"])
    assert main(["inspect", str(deployed.bundle)]) == 0
    assert "resnet18" in capsys.readouterr().out


def test_verify_tells_another_checkpoint(deployed, tmp_path, capsys):
    """One per mille in one layer."""
    changed = copy.deepcopy(deployed.model)
    with torch.no_grad():
        next(changed.model.student.parameters()).mul_(1.001)
    save_checkpoint(changed, tmp_path / "other.ckpt")
    for checkpoint, status in ((deployed.checkpoint, 0), (tmp_path / "other.ckpt", 1)):
        assert main(["verify", str(deployed.bundle), str(checkpoint), str(deployed.mixed)]) == status
    assert "beyond the bound of 0.0001: score, map, raw score" in capsys.readouterr().err
    assert main(["verify", str(deployed.bundle), str(tmp_path / "other.ckpt"), str(deployed.mixed), "--bound=1"]) == 0
    assert main(["verify", str(deployed.bundle), str(deployed.checkpoint), str(deployed.mixed), "--bound=0"]) == 2
    assert "--bound 0.0 must be above 0" in capsys.readouterr().err
