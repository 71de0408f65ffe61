# SPDX-License-Identifier: Apache-2.0
"""The report from anomalib's own command line: a built-in model, and ours with supports."""

import re
from pathlib import Path

import pytest

from tests.conftest import cli, same_as_test_arguments
from tests.unit.deploy.report.test_report import Page

REPORT = "--model.visualizer=anomalib_fsad.ReportVisualizer"
PADIM = ["--model=Padim", "--model.backbone=resnet18", "--model.pre_trained=false"]
D24FAD = [
    *("--model=anomalib_fsad.D24FAD", "--model.backbone=resnet18", "--model.pre_trained=false", "--model.k_shot=4"),
    *("--model.image_size=64", "--model.matching=nearest", "--model.spaces=[teacher]", "--model.max_epochs=1"),
]


def page_of(root: Path) -> Page:
    (path,) = root.rglob("report.html")
    assert not [other for other in path.parent.iterdir() if other.name.endswith(".part")]
    assert str(root) not in path.read_text(encoding="utf-8")
    return Page(path)


@pytest.fixture(scope="module")
def padim(toy_root, tmp_path_factory):
    """Trained, and tested at the end, as ``anomalib train`` does."""
    root = tmp_path_factory.mktemp("padim")
    cli("train", *PADIM, REPORT, *same_as_test_arguments(toy_root), root=root)
    return root


@pytest.mark.cli
def test_a_built_in_model_reports_its_test_with_the_confusion(padim, toy_root):
    page = page_of(padim)
    rows = {row["data-name"]: row for row in page.rows}
    assert sorted(rows) == [f"test/{kind}/{i}.png" for kind in ("bad", "good") for i in range(3)]
    outcome = {(True, "anomalous"): "TP", (True, "normal"): "FN", (False, "anomalous"): "FP", (False, "normal"): "TN"}
    for name, row in rows.items():
        assert row["data-outcome"] == outcome["/bad/" in name, row["data-label"]]
        assert "heat" in page.json(f"image-{row['data-number']}")
    shared = page.json("shared")
    assert shared["threshold"] == pytest.approx(0.5)
    assert shared["supports"] == []
    good = sorted(float(row["data-raw"]) for name, row in rows.items() if "/good/" in name)
    assert shared["normals"] == pytest.approx(good, rel=1e-5)
    words = " ".join(page.texts.values())
    assert "the best F1 on the validation images" in words
    assert "Padim: toy" in words


@pytest.mark.cli
def test_a_built_in_model_reports_its_predictions(padim, toy_root, tmp_path):
    checkpoint = max(padim.rglob("*.ckpt"))
    target = tmp_path / "mine.html"
    named = f"--model.visualizer.init_args.file={target}"
    cli("predict", *PADIM, REPORT, named, f"--data={toy_root / 'test/bad'}", f"--ckpt_path={checkpoint}", root=tmp_path)
    page = Page(target)
    assert [row["data-outcome"] for row in page.rows] == [""] * 3
    assert {row["data-label"] for row in page.rows} <= {"normal", "anomalous"}
    assert page.json("shared")["normals"] == []


@pytest.mark.cli
def test_a_few_shot_model_reports_its_supports_and_the_nearest_patch(toy_root, tmp_path):
    cli("train", *D24FAD, REPORT, *same_as_test_arguments(toy_root), root=tmp_path)
    page = page_of(tmp_path)
    supports = page.json("shared")["supports"]
    assert [support["name"] for support in supports] == [f"support {number}" for number in (1, 2, 3, 4)]
    for row in page.rows:
        image = page.json(f"image-{row['data-number']}")
        assert sum(image["weights"]) == pytest.approx(1, abs=1e-3)
        place, *box = image["nearest"]
        assert 0 <= place < 4
        assert all(0 <= edge <= 1 for edge in box)
    assert re.search(r"leave-one-out of the support images, 0\.05 of normals above it", " ".join(page.texts.values()))


@pytest.mark.cli
def test_a_test_that_fails_leaves_no_half_a_page(padim, toy_root, tmp_path, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        message = "the disk is full"
        raise OSError(message)

    monkeypatch.setattr("anomalib_fsad.report.visualizer.entry_of", broken)
    checkpoint = max(padim.rglob("*.ckpt"))
    with pytest.raises(OSError, match="the disk is full"):
        cli("predict", *PADIM, REPORT, f"--data={toy_root / 'test/bad'}", f"--ckpt_path={checkpoint}", root=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if "report" in path.name]
