# SPDX-License-Identifier: Apache-2.0
"""A folder of images in, results out: one run, whole, and named; on a toy bundle, through the command."""

import csv
import json
import os
import re
import resource
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image

from anomalib_fsad.cli import main
from anomalib_fsad.deploy import Enrolment, FewShotInferencer
from anomalib_fsad.deploy.heat_maps import overlay
from tests.unit.deploy.pictures import colour, grey, write_dicom, write_normals


@pytest.fixture
def images(tmp_path):
    """Five normal pictures and one with a bright spot."""
    folder = write_normals(tmp_path / "images", count=5, first_seed=20)
    Image.fromarray(colour(30, (90, 80), spot=True)).save(folder / "spot.png")
    return folder


@pytest.fixture
def predict(toy, toy_organ, tmp_path, capsys):
    """Run the verb; what it said is kept."""

    def run(source, *options, organ=toy_organ, status=0):
        out = tmp_path / "out"
        command = ["predict", toy.folder, organ, source, out, *options]
        assert main([str(part) for part in command]) == status
        run.said = " ".join(capsys.readouterr().err.split())
        return out

    return run


def table(out):
    with (out / "predictions.csv").open(newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def facts(out):
    return json.loads((out / "predictions.json").read_text())


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_run_is_named_beside_the_table(predict, images, toy, toy_organ):
    out = predict(images)
    assert names(out) == [*(f"heat_maps/{name}.png" for name in table(out)), "predictions.csv", "predictions.json"]
    organ = Enrolment.load(toy_organ)
    found = facts(out)
    assert found["complete"] is True
    assert (found["bundle"], found["enrolment"]) == (toy.digest, organ.digest)
    assert found["threshold"] == organ.threshold.value
    assert found["threshold_source"].startswith("leave-one-out of 5 normal images")
    assert (found["images"], found["anomalous"], found["unreadable"]) == (6, 1, 0)
    assert {"anomalib-fsad", "python", "numpy", "openvino"} <= found["software"].keys()


def test_scores_rise_with_the_raw_ones_and_stay_below_one(predict, images):
    Image.fromarray(np.full((64, 64, 3), 255, dtype=np.uint8)).save(images / "white.png")
    rows = sorted(table(predict(images)).values(), key=lambda row: float(row["raw_score"]))
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores)
    assert 0 < scores[0] < 0.5 < scores[-1] < 1
    assert all((row["label"] == "anomalous") == (float(row["score"]) > 0.5) for row in rows)


def test_two_runs_are_never_mixed(predict, images):
    out = predict(images)
    (out / "notes.txt").write_text("by hand")
    before = (out / "predictions.csv").read_bytes()
    (images / "20.png").unlink()
    predict(images, status=2)
    assert "already holds results (heat_maps, predictions.json, predictions.csv)" in predict.said
    assert "--overwrite" in predict.said
    assert (out / "predictions.csv").read_bytes() == before
    predict(images, "--overwrite")
    assert "20.png" not in table(out)
    assert not (out / "heat_maps/20.png.png").exists()
    assert (out / "notes.txt").read_text() == "by hand"
    predict(images, "--overwrite", "--no-heat-maps")
    assert names(out) == ["notes.txt", "predictions.csv", "predictions.json"]


def test_what_an_interrupted_run_left_is_replaced_if_asked_for(predict, images, tmp_path):
    (tmp_path / "out/unfinished").mkdir(parents=True)
    predict(images, status=2)
    assert "(unfinished)" in predict.said
    assert "unfinished" not in " ".join(names(predict(images, "--overwrite")))


def test_a_full_disk_leaves_the_old_results(predict, images, toy, toy_organ, tmp_path):
    out = predict(images)
    before = {name: (out / name).read_bytes() for name in names(out)}
    organ = toy_organ.read_bytes()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8)).save(images / "big.png")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        predict(images, "--overwrite", status=2)
        assert main(["enroll", str(toy.folder), str(images), str(toy_organ)]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in predict.said
    assert {name: (out / name).read_bytes() for name in names(out)} == before
    assert toy_organ.read_bytes() == organ
    assert not [path for path in toy_organ.parent.iterdir() if path.name.endswith(".part")]


def test_one_image_is_enough(predict, images):
    out = predict(images / "spot.png")
    assert names(out) == ["heat_maps/spot.png.png", "predictions.csv", "predictions.json"]
    assert table(out)["spot.png"]["label"] == "anomalous"


def test_goes_on_after_an_unreadable_image(predict, images):
    whole = (images / "spot.png").read_bytes()
    (images / "half.png").write_bytes(whole[: len(whole) // 2])
    (images / "empty.png").touch()
    rows = table(predict(images, status=1))
    assert "damaged or truncated" in rows["half.png"]["error"]
    assert "empty" in rows["empty.png"]["error"]
    assert rows["half.png"]["score"] == rows["empty.png"]["score"] == ""
    assert rows["spot.png"]["score"]
    assert "2 unreadable" in predict.said


def test_says_that_it_is_another_kind_of_image(predict, images):
    """Grey inverted; while lesions, even in every image, are what it is for."""
    (images / "spot.png").unlink()
    assert facts(predict(images))["drift"]["share"] < 0.95
    assert "warning" not in predict.said
    for path in images.iterdir():
        picture = np.asarray(Image.open(path)).copy()
        picture[30:45, 30:45] = 255
        Image.fromarray(picture).save(path)
    out = predict(images, "--overwrite")
    assert facts(out)["anomalous"] == 5
    assert "warning" not in predict.said
    for path in images.iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    out = predict(images, "--overwrite", status=1)
    assert facts(out)["drift"]["share"] == 1
    assert "warning: drift 1.00" in predict.said
    assert "Another organ, scanner or grey scale?" in predict.said


def test_heat_maps_are_clear_on_normals_and_coloured_on_lesions(predict, images):
    out = predict(images)

    def changed(name):
        before, after = (
            np.asarray(Image.open(path), dtype=float) for path in (images / name, out / "heat_maps" / f"{name}.png")
        )
        return np.abs(after - before).max(axis=2) > 20

    assert np.mean([changed(f"{seed}.png").mean() for seed in range(20, 25)]) < 0.1
    spot = changed("spot.png")
    assert spot[32:43, 28:38].mean() > 0.9
    assert spot.mean() < 0.3


def test_an_overlay_is_the_image_where_the_map_is_low_and_reddens_where_it_is_high():
    image = np.full((8, 8, 3), 0.5, dtype=np.float32)
    low, at, high = (np.asarray(overlay(image, np.full((4, 4), value), 0.1)) for value in (0.05, 0.1, 1.0))
    assert (low == 128).all()
    assert (np.ptp(at, axis=2) > 20).all()
    assert (high[..., 0].astype(int) - high[..., 1] > 50).all()


def test_without_any_threshold_nothing_is_labelled(toy_raw, tmp_path, images):
    inferencer = FewShotInferencer(toy_raw.folder)
    organ = inferencer.enroll(write_normals(tmp_path / "normals"), target_fpr=None)
    prediction = inferencer.predict(images / "spot.png", organ)
    assert prediction.label is prediction.mask is None
    assert prediction.score == prediction.raw_score
    organ.save(tmp_path / "organ.npz")
    command = ["predict", toy_raw.folder, tmp_path / "organ.npz", images, tmp_path / "out"]
    assert main([str(part) for part in command]) == 0
    assert {row["label"] for row in table(tmp_path / "out").values()} == {""}
    assert facts(tmp_path / "out")["threshold_source"] == "none"


def report_rows(path):
    return re.findall(r'<tr data-number="\d+" data-name="([^"]*)"', path.read_text(encoding="utf-8"))


def test_a_report_has_all_images_and_its_size_is_said(predict, images, tmp_path):
    (images / "half.png").write_bytes((images / "spot.png").read_bytes()[:900])
    report = tmp_path / "pages/report.html"
    out = predict(images, "--report", report, status=1)
    rows = report_rows(report)
    by_score = sorted((float(r["score"] or -1), name) for name, r in table(out).items())
    assert rows == [name for _, name in reversed(by_score)][:-1]
    assert rows[0] == "spot.png"
    text = report.read_text(encoding="utf-8")
    for said in (facts(out)["bundle"], facts(out)["enrolment"], "damaged or truncated", "leave-one-out of 5 normal"):
        assert said in text
    assert str(tmp_path) not in text
    assert f"Report: {report} ({report.stat().st_size / 1e6:.1f} MB)" in predict.said


def test_a_report_that_is_there_is_kept_unless_asked_for(predict, images, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("mine")
    predict(images, "--report", report, status=2)
    assert "is there already" in predict.said
    assert report.read_text() == "mine"
    assert not (tmp_path / "out").exists()
    predict(images, "--report", tmp_path / "report.pdf", status=2)
    assert "A report is an .html file" in predict.said
    predict(images, "--report", report, "--overwrite")
    assert len(report_rows(report)) == 6


def test_a_link_that_leads_out_of_the_folder_is_not_followed(predict, images, tmp_path):
    elsewhere = write_normals(tmp_path / "elsewhere", count=1)
    (images / "link.png").symlink_to(elsewhere / "0.png")
    (images / "inside.png").symlink_to(images / "spot.png")
    rows = table(predict(images, status=1))
    assert "symbolic link that leads out of the folder" in rows["link.png"]["error"]
    assert rows["inside.png"]["label"] == "anomalous"
    rows = table(predict(images, "--overwrite", "--follow-links"))
    assert rows["link.png"]["label"] == "normal"


def test_enroll_refuses_a_link_that_leads_out(toy, tmp_path, capsys):
    elsewhere = write_normals(tmp_path / "elsewhere", count=1)
    normals = write_normals(tmp_path / "normals", first_seed=3)
    (normals / "link.png").symlink_to(elsewhere / "0.png")
    assert main(["enroll", str(toy.folder), str(normals), str(tmp_path / "organ.npz")]) == 2
    assert "link.png' is a symbolic link that leads out of" in capsys.readouterr().err
    assert not (tmp_path / "organ.npz").exists()


def test_any_name_that_a_file_may_have(predict, images, tmp_path):
    """No Unicode, a formula, a line's end, and a piece of HTML."""
    content = (images / "20.png").read_bytes()
    names = [b"not\xffunicode.png", b"=1+1.png", b"two\nlines.png", b"<b onclick='x'>&.png"]
    for name in names:
        (images / os.fsdecode(name)).write_bytes(content)
    out = predict(images, "--report", tmp_path / "report.html")
    assert {"not\ufffdunicode.png", "'=1+1.png", "two\nlines.png", "<b onclick='x'>&.png"} <= table(out).keys()
    assert len(report_rows(tmp_path / "report.html")) == 10
    assert "<b onclick" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_name_of_a_patient_is_nowhere(predict, images, tmp_path):
    for name, cut in (("slice.dcm", None), ("half.dcm", 900)):
        write_dicom(images / name, grey(3, (64, 64)) * 4000)
        data = pydicom.dcmread(images / name)
        data.PatientName, data.PatientID = "Doe^Jane", "4711-0815"
        data.save_as(images / name)
        (images / name).write_bytes((images / name).read_bytes()[:cut])
    out = predict(images, "--report", tmp_path / "report.html", status=1)
    written = [path.read_bytes() for path in (*out.rglob("*"), tmp_path / "report.html") if path.is_file()]
    written += [predict.said.encode(), " ".join(names(tmp_path)).encode()]
    assert not [content for content in written if b"Doe" in content or b"4711" in content]


def test_a_picture_of_huge_dimensions_is_a_line_of_the_table(predict, images):
    """Its header alone is known: a bomb is not decoded."""
    Image.fromarray(np.zeros((20, 20), dtype=np.uint8)).save(images / "bomb.png")
    content = bytearray((images / "bomb.png").read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (images / "bomb.png").write_bytes(content)
    assert table(predict(images, status=1))["bomb.png"]["error"]
