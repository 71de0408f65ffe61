# SPDX-License-Identifier: Apache-2.0
"""The command, on real files."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalib_fsad.cli import main
from anomalib_fsad.deploy.images import folder_images
from tests.unit.deploy.conftest import eager


@pytest.fixture(scope="module")
def organ(deployed, tmp_path_factory):
    path = tmp_path_factory.mktemp("organ") / "organ.npz"
    assert main(["enroll", str(deployed.bundle), str(deployed.normals), str(path)]) == 0
    return path


def table(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def test_predict_writes_a_table_and_heat_maps(deployed, organ, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", str(deployed.bundle), str(organ), str(deployed.mixed), str(out)]) == 0
    rows = table(out)
    paths = folder_images(deployed.mixed)
    assert list(rows) == [path.relative_to(deployed.mixed).as_posix() for path in paths]
    for path in paths:
        row, want = rows[path.relative_to(deployed.mixed).as_posix()], eager(deployed.model, path)
        assert float(row["score"]) == pytest.approx(want.score, abs=1e-4)
        assert row["label"] == ("anomalous" if want.label else "normal")
        weights = [float(row[f"reference_{k}"]) for k in range(1, 6)]
        np.testing.assert_allclose(weights, want.weights.mean(axis=0), atol=2e-4)
        assert row["error"] == ""
    maps = {path.relative_to(out / "heat_maps").as_posix() for path in folder_images(out / "heat_maps")}
    assert maps == {f"{name}.png" for name in rows}
    assert Image.open(out / "heat_maps/large.jpg.png").size == (150, 200)
    assert "8 images" in capsys.readouterr().err


def test_predict_goes_on_after_an_unreadable_image(deployed, organ, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    whole = (deployed.mixed / "rgb8.png").read_bytes()
    (images / "a.png").write_bytes(whole[:200])
    (images / "b.png").write_bytes(whole)
    (images / "c.png").touch()
    command = ["predict", str(deployed.bundle), str(organ), str(images), str(tmp_path / "out"), "--no-heat-maps"]
    assert main(command) == 1
    rows = table(tmp_path / "out")
    assert rows["b.png"]["score"]
    assert rows["a.png"]["score"] == rows["c.png"]["score"] == ""
    assert "damaged or truncated" in rows["a.png"]["error"]
    assert "empty" in rows["c.png"]["error"]
    assert not (tmp_path / "out/heat_maps").exists()


def test_errors_are_one_line(deployed, organ, tmp_path, capsys):
    bundle, images, broken = str(deployed.bundle), str(deployed.mixed), str(tmp_path / "broken.pth")
    Path(broken).write_bytes(b"no tensors")
    for command, message in (
        (["predict", bundle, str(organ), images, images + "/out"], "lies in the folder of images"),
        (["predict", bundle, str(organ), str(tmp_path / "none"), str(tmp_path / "out")], "is no folder"),
        (["predict", bundle, str(tmp_path / "no.npz"), images, str(tmp_path / "out")], "cannot be read"),
        (["predict", bundle, str(organ), images, str(tmp_path / "out"), "--workers=0"], "--workers 0"),
        (["enroll", str(tmp_path), images, str(tmp_path / "o.npz")], "is no bundle"),
        (["enroll", bundle, images, str(tmp_path / "o.npz"), "--k-shot=99"], "holds 8 images, but k_shot=99"),
        (["enroll", bundle, images, str(tmp_path / "o.npz"), f"--digest={'0' * 64}"], "is another bundle"),
        (["convert", "PatchCore", "a.pth", "b.ckpt"], "no model 'PatchCore'"),
        (["convert", "D24FAD", "a.pth", "b.ckpt"], "'a.pth' does not exist"),
        (["convert", "D24FAD", "a.pth", "b.pth"], "must end in .ckpt"),
        (["convert", "D24FAD", "a.pth", "b.ckpt", "k_shot"], "write NAME=VALUE"),
        (["convert", "D24FAD", broken, str(tmp_path / "b.ckpt")], "could not be read as plain tensors"),
        (["convert", "D24FAD", broken, str(tmp_path / "b.ckpt"), "shots=4"], "D24FAD has no argument shots"),
        (["enroll", bundle, images, str(tmp_path / "liver")], "is saved as .npz"),
        (["inspect", str(tmp_path / "none")], "does not exist"),
    ):
        assert main(command) == 2
        printed = " ".join(capsys.readouterr().err.split())
        assert message in printed
        assert "Traceback" not in printed


def inspect(path, capsys):
    capsys.readouterr()
    assert main(["inspect", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_inspect_tells_what_a_file_is(deployed, organ, tmp_path, capsys):
    bundle = inspect(deployed.bundle, capsys)
    assert (bundle["kind"], bundle["model"], bundle["image_size"]) == ("bundle", "D24FAD", [64, 96])
    assert bundle["backends"] == ["openvino", "onnx"]
    enrolment = inspect(organ, capsys)
    assert (enrolment["kind"], len(enrolment["references"])) == ("enrolment", 5)
    assert enrolment["bundle"] == bundle["digest"]
    checkpoint = inspect(deployed.checkpoint, capsys)
    assert (checkpoint["kind"], checkpoint["model"], checkpoint["references"]) == ("checkpoint", "D24FAD", 5)
    assert checkpoint["arguments"]["backbone"] == "resnet18"
    assert checkpoint["statistics"]["image_threshold"] == pytest.approx(bundle["post_processing"]["image_threshold"])
    assert main(["inspect", str(deployed.bundle)]) == 0
    assert "resnet18" in capsys.readouterr().out


def test_inspect_checks_every_file(deployed, tmp_path, capsys):
    for path in deployed.bundle.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "scorer.bin").unlink()
    (tmp_path / "scorer.bin").write_bytes(b"\0" * (deployed.bundle / "scorer.bin").stat().st_size)
    assert main(["inspect", str(tmp_path)]) == 2
    assert "broken file" in capsys.readouterr().err
