# SPDX-License-Identifier: Apache-2.0
"""What enroll says of the normal images, and more of them later."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalib_fsad.cli import main
from anomalib_fsad.deploy import Enrolment, FewShotInferencer
from anomalib_fsad.deploy.alone import alone
from anomalib_fsad.deploy.normals import normals_of, outliers
from tests.unit.deploy.pictures import colour, write_normals


@pytest.fixture
def enroll(toy, tmp_path, capsys):
    """Run the verb on the toy bundle; what it said is kept."""

    def run(folder, *options, status=0):
        command = ["enroll", toy.folder, folder, tmp_path / "organ.npz", *options]
        assert main([str(part) for part in command]) == status
        run.said = " ".join(capsys.readouterr().err.split())
        return Enrolment.load(tmp_path / "organ.npz") if (tmp_path / "organ.npz").exists() else None

    return run


@pytest.mark.parametrize("count", [4, 8, 20, 60])
def test_outliers_are_named_as_rarely_as_documented(count):
    """In one set of like images out of a hundred; and always where one scores many times as high."""
    rng = np.random.default_rng(count)
    sets = rng.lognormal(-2, 0.3, (2000, count))
    alarms = np.mean([len(outliers(scores)) > 0 for scores in sets])
    assert 0.004 < alarms < 0.02
    sets[:, 1] = 0.135 * np.exp(8)
    found = [outliers(scores) for scores in sets[:100]]
    assert all(1 in places for places in found)


def test_one_outlier_does_not_hide_another():
    scores = np.random.default_rng(0).lognormal(-2, 0.2, 12)
    scores[[3, 7]] = 0.9, 1.0
    assert outliers(scores) == (7, 3)


def test_few_or_equal_scores_have_none():
    for scores in ([], [0.1], [0.1, 0.2, 9.0], [0.1] * 8, [0.0] * 8):
        assert outliers(np.array(scores)) == ()
        assert normals_of([""] * len(scores), np.array(scores), None).warnings == []


def test_enroll_shows_the_scores_and_names_the_one_that_is_unlike(enroll, tmp_path):
    folder = write_normals(tmp_path / "normals", count=9)
    like = enroll(folder)
    assert "leave-one-out), the highest score first" in enroll.said
    assert "warning" not in enroll.said
    for name, score in zip(like.names, like.normal_scores, strict=True):
        assert f"{score:.4g} {Path(name).name}" in enroll.said
    Image.fromarray(255 - colour(3, (90, 80))).save(folder / "inverted.png")
    enroll(folder)
    assert "inverted.png <- unlike the others" in enroll.said
    assert "inverted.png' is unlike the other normal images" in enroll.said
    assert "enrol without it if so" in enroll.said


def test_normals_that_are_too_unlike_one_another_are_told(enroll, tmp_path):
    folder = write_normals(tmp_path / "normals", count=3)
    rng = np.random.default_rng(0)
    for place, brightness in enumerate((20, 120, 250)):
        noise = rng.integers(0, brightness, (90, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"noise{place}.png")
    enroll(folder)
    assert "too unlike one another" in enroll.said


def test_more_normals_join_those_that_are_enrolled(enroll, toy, tmp_path):
    """As if all had been enrolled at once; the target stays what it was."""
    first, later, both = (tmp_path / name for name in ("first", "later", "both"))
    write_normals(first, count=5)
    write_normals(later, count=4, first_seed=5)
    write_normals(both, count=9)
    before = enroll(first, "--target-fpr", "0.2")
    after = enroll(later, "--add")
    at_once = FewShotInferencer(toy.folder).enroll(both, target_fpr=0.2)
    assert [Path(name).name for name in after.names] == [Path(name).name for name in at_once.names]
    assert after.threshold.value == pytest.approx(at_once.threshold.value)
    assert after.threshold.value != before.threshold.value
    np.testing.assert_allclose(after.normal_scores, at_once.normal_scores, rtol=1e-5)
    np.testing.assert_array_equal(after.pictures, at_once.pictures)
    assert after.pictures.shape[0] == 9


def test_what_is_enrolled_is_not_added_again(enroll, tmp_path):
    folder = write_normals(tmp_path / "normals")
    before = enroll(folder).digest
    assert enroll(folder, "--add", status=2).digest == before
    assert "0.png' is enrolled already, as" in enroll.said


def test_nothing_is_added_to_what_is_not_there(enroll, tmp_path):
    assert enroll(write_normals(tmp_path / "normals"), "--add", status=2) is None
    assert "cannot be read" in enroll.said


def test_pictures_are_kept_unless_not_wanted(enroll, tmp_path):
    folder = write_normals(tmp_path / "normals")
    assert enroll(folder).pictures.shape == (5, 112, 112, 3)
    assert enroll(folder, "--no-pictures").pictures.shape[0] == 0


def test_two_processes_do_not_write_one_enrolment(enroll, tmp_path):
    """The second is told at once, and the file of the first is whole."""
    folder = write_normals(tmp_path / "normals")
    before = enroll(folder).digest
    with alone(tmp_path / "organ.npz"):
        assert enroll(folder, "--target-fpr", "0.2", status=2).digest == before
        assert "is being written by another process" in enroll.said
    assert enroll(folder, "--target-fpr", "0.2").digest != before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".organ")]


HOLD = """
import sys
from pathlib import Path
from anomalib_fsad.deploy.alone import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_process_that_dies_holds_nothing(tmp_path):
    path = tmp_path / "organ.npz"
    command = [sys.executable, "-c", HOLD, str(path)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match="another process"), alone(path):
            pass
        holder.kill()
    with alone(path):
        pass
