# SPDX-License-Identifier: Apache-2.0
"""By what threshold images are judged, and what enroll says of it."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from anomalib_fsad.cli import main
from anomalib_fsad.deploy import Enrolment
from tests.unit.deploy.pictures import write_normals


def test_the_checkpoints_threshold_comes_with_a_warning_where_it_does_not_fit(toy, tmp_path, capsys):
    """Normals that are unlike one another lie above it, and by it every healthy image would be anomalous."""
    rng = np.random.default_rng(0)
    alike = write_normals(tmp_path / "alike", count=4)
    (tmp_path / "unlike").mkdir()
    for place in range(4):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / f"unlike/{place}.png")
    for folder, wanted in ((alike, False), (tmp_path / "unlike", True)):
        command = ["enroll", toy.folder, folder, tmp_path / "organ.npz", "--target-fpr", "none"]
        assert main([str(part) for part in command]) == 0
        said = " ".join(capsys.readouterr().err.split())
        assert "threshold 0.02: checkpoint" in said
        assert ("warning: " in said) is wanted
        assert ("4 of the 4 normal images lie above it by their leave-one-out scores" in said) is wanted


def test_enroll_sets_a_threshold_of_its_own_and_states_its_limits(toy, tmp_path, capsys):
    for count, limits in (
        (5, "too few images to show this rate (19 do)"),
        (19, "this rate holds for images like those"),
    ):
        folder = write_normals(tmp_path / str(count), count=count)
        assert main(["enroll", str(toy.folder), str(folder), str(tmp_path / "organ.npz")]) == 0
        said = " ".join(capsys.readouterr().err.split())
        assert f"leave-one-out of {count} normal images, 0.05 of normals above it" in said
        assert limits in said
        assert Enrolment.load(tmp_path / "organ.npz").threshold.target_fpr == 0.05
    two = write_normals(tmp_path / "two", count=2)
    assert main(["enroll", str(toy.folder), str(two), str(tmp_path / "organ.npz")]) == 2
    assert "at least 3 normal images, better 8, and 2 were enrolled" in " ".join(capsys.readouterr().err.split())


def test_a_rate_is_a_number_or_none(toy, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["enroll", str(toy.folder), str(tmp_path), str(tmp_path / "organ.npz"), "--target-fpr", "low"])
    assert "argument --target-fpr: 'low' is neither a rate, such as 0.05, nor none" in capsys.readouterr().err


def test_the_checkpoints_threshold_is_the_one_its_labels_follow(toy):
    """On raw scores, whatever the sensitivity: anomalib compares normalised scores with 1 - sensitivity."""
    metadata = toy.metadata
    for sensitivity in (0.5, 0.3, 0.6):
        statistics = metadata.post_processing | {"image_sensitivity": sensitivity, "image_max": 0.5}
        threshold = dataclasses.replace(metadata, post_processing=statistics).threshold("image")
        normalised = (threshold - statistics["image_threshold"]) / 0.5 + 0.5
        assert normalised == pytest.approx(1 - sensitivity)
    assert metadata.threshold("pixel") is None
    assert dataclasses.replace(metadata, labelled=False).threshold("image") is None
