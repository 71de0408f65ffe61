# SPDX-License-Identifier: Apache-2.0
"""What a user may do wrong with data: each case has one message with the option, the value and the remedy."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anomalib_fsad.data import MedicalFewShot
from anomalib_fsad.images.decoding import ImageReadError

Make = Callable[..., MedicalFewShot]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "fundos"}, r"target='fundos' is unknown; the data holds \['brain_mri', .*Did you mean 'fundus'\?"),
        ({"target": "Fundus"}, r"target='Fundus' is unknown.*Did you mean 'fundus'\?"),
        ({"target": None}, r"target is not set; the data holds \[.*Pass one of them as --data\.target"),
        ({"root": "/no/such/place"}, r"root='/no/such/place' is no folder.*--data\.root.*--data\.reader phantom"),
        (
            {"k_shot": 7},
            r"k_shot=7 needs 7 normal training images of 'fundus', found 6\. Pass --data\.k_shot 6 or less",
        ),
        ({"k_shot": 6}, r"k_shot=6: source '\w+' has 6 normal training images, but .* Pass --data\.k_shot 5 or less"),
        ({"few_shot_source": "/no/folder"}, r"few_shot_source='/no/folder' is no folder, k_shot=2 needs 2: point it"),
        (
            {"source_categories": ["fundus"]},
            r"source_categories=\['fundus'\] contains the target 'fundus'.*leave it out",
        ),
        ({"source_categories": ["liver"]}, r"source_categories=\['liver'\]: \['liver'\] is not among the other categ"),
        ({"source_categories": []}, r"source_categories=\[\]: nothing is not among the other"),
        ({"source_categories": "liver"}, r"source_categories=\['liver'\]: \['liver'\] is not among the other categ"),
        ({"sets": {"x": None}}, r"sets: '.*/x' \(x\) is no folder, .*Give its root in --data\.sets"),
        (
            {"cache": "disk", "cache_dir": "/proc/none"},
            r"cache_dir: '/proc/none/.*' cannot be written .*--data\.cache_dir",
        ),
        (
            {"same_category_batches": True, "train_batch_size": 16},
            r"6 normal .* train_batch_size=16\. Pass .* 6 or less",
        ),
    ],
)
def test_at_setup(medical: Make, options: dict[str, Any], message: str) -> None:
    data = medical(**options)
    with pytest.raises((ValueError, OSError), match=f"(?s){message}"):
        data.setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "zero_shot"}, r"protocol='zero_shot' is none of \['episodic', 'few_shot', 'one_class'\]"),
        ({"missing_masks": "no"}, r"missing_masks='no' is none of \['raise', 'skip', 'classification'\]"),
        ({"val": "test"}, r"val='test' is none of \['held_out', 'same_as_test'\]"),
        ({"on_error": "ignore"}, r"on_error='ignore' is none of \['raise', 'skip'\]"),
        ({"cache": "gpu"}, r"cache='gpu' is none of \['ram', 'disk', 'none'\]"),
        ({"seed": -1}, r"seed=-1 is too small: at least 0"),
        ({"support_seed": -1}, r"support_seed=-1 is too small: at least 0"),
        ({"cache_gib": -0.5}, r"cache_gib=-0.5 is too small: at least 0"),
        ({"train_batch_size": 0}, r"train_batch_size=0 is too small: at least 1"),
        ({"k_shot": 0}, r"k_shot=0 is too small: at least 1"),
        ({"val_images": 1}, r"val_images=1 is too small: at least 2"),
        ({"intensity": "window(1)"}, r"intensity='window\(1\)' is none of"),
    ],
)
def test_before_anything_is_read(medical: Make, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        medical(**options)


def test_an_only_category_has_nothing_to_learn_from(medical: Make, phantom_root: Path) -> None:
    data = medical(root=phantom_root / "fundus")
    with pytest.raises(ValueError, match=r"holds only 'fundus'.*--data\.protocol few_shot or one_class"):
        data.setup()


def test_a_source_without_training_images(medical: Make, own_root: Path) -> None:
    shutil.rmtree(own_root / "head_ct/train")
    (own_root / "head_ct/train/good").mkdir(parents=True)
    data = medical(root=own_root)
    with pytest.raises(ValueError, match=r"k_shot=2: source 'head_ct' has 0 normal training images"):
        data.setup()


def test_one_class_beside_a_support_folder_needs_images(medical: Make, own_root: Path, phantom_root: Path) -> None:
    for path in (own_root / "fundus/train/good").iterdir():
        path.unlink()
    data = medical(root=own_root, protocol="one_class", few_shot_source=phantom_root / "fundus/train/good")
    with pytest.raises(ValueError, match=r"protocol='one_class': target 'fundus' has no normal training images"):
        data.setup()


@pytest.fixture
def own_root(phantom_root: Path, tmp_path: Path) -> Path:
    """A copy of two organs that a test may spoil."""
    for organ in ("fundus", "head_ct"):
        shutil.copytree(phantom_root / organ, tmp_path / "own" / organ)
    return tmp_path / "own"


@pytest.mark.parametrize(
    "place", ["head_ct/train/good/0001.png", "fundus/test/good/0001.png", "head_ct/test/good/0000.png"]
)
@pytest.mark.parametrize("content", [b"", b"damaged"])
def test_an_unreadable_image_is_named_before_training(
    medical: Make, own_root: Path, place: str, content: bytes
) -> None:
    (own_root / place).write_bytes(content)
    data = medical(root=own_root)
    with pytest.raises(ImageReadError, match=rf"Cannot read image '.*{place}': .*--data\.on_error skip"):
        data.setup()


def test_skip_leaves_unreadable_images_out_and_says_so(
    medical: Make, own_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt = [own_root / place for place in ("head_ct/train/good/0001.png", "fundus/test/good/0001.png")]
    spoilt[0].write_bytes(b"")
    whole = spoilt[1].read_bytes()
    spoilt[1].write_bytes(whole[: len(whole) // 2])
    data = medical(root=own_root, on_error="skip")
    data.setup()
    assert "on_error=skip: 2 of 52 images are left out" in caplog.text
    assert all(str(path) in caplog.text for path in spoilt)
    assert len(data.train_data) == 5
    assert len(data.test_data) == 19
    assert sum(len(batch) for batch in data.test_dataloader()) == 19
    assert sum(len(batch) for batch in data.train_dataloader()) == 5


def test_skipping_too_many_is_too_few(medical: Make, own_root: Path) -> None:
    for path in sorted((own_root / "fundus/train/good").iterdir())[:5]:
        path.write_bytes(b"")
    data = medical(root=own_root, on_error="skip")
    with pytest.raises(ValueError, match=r"k_shot=2 needs 2 normal training images of 'fundus', found 1"):
        data.setup()


def test_an_empty_support_folder(medical: Make, tmp_path: Path) -> None:
    (tmp_path / "support").mkdir()
    (tmp_path / "support/readme.txt").write_text("no image")
    data = medical(few_shot_source=tmp_path / "support")
    with pytest.raises(ValueError, match=r"few_shot_source='.*support' holds 0 images, k_shot=2 needs 2"):
        data.setup()


def test_a_small_support_folder(medical: Make, tmp_path: Path) -> None:
    (tmp_path / "support").mkdir()
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "support/a.png")
    data = medical(few_shot_source=tmp_path / "support")
    with pytest.raises(ValueError, match=r"holds 1 images, k_shot=2 needs 2: pass --data\.k_shot 1, or"):
        data.setup()


def test_an_unreadable_support_image(medical: Make, tmp_path: Path) -> None:
    (tmp_path / "support").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "support" / name).write_bytes(b"")
    data = medical(few_shot_source=tmp_path / "support")
    with pytest.raises(ImageReadError, match=r"support/a\.png': the file is empty"):
        data.setup()


@pytest.mark.parametrize("named", ["copy.png", None])
def test_support_images_are_no_test_images(
    medical: Make, phantom_root: Path, tmp_path: Path, named: str | None
) -> None:
    """Neither the test images themselves nor copies of them under other names."""
    folder = sorted(f for f in (phantom_root / "fundus/test").iterdir() if f.name != "good")[0]
    bad = sorted(folder.iterdir())[0]
    if named is not None:
        folder = tmp_path / "support"
        shutil.copytree(phantom_root / "fundus/train/good", folder)
        shutil.copyfile(bad, folder / named)
    data = medical(few_shot_source=folder, k_shot=1)
    number = 1 if named else len(list(folder.iterdir()))
    message = rf"few_shot_source='.*' holds {number} test images of the data \({number} of them abnormal\): '.*"
    with pytest.raises(ValueError, match=message + (named or bad.name)):
        data.setup()


def test_a_target_with_nothing_to_tell_apart(medical: Make, own_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.rmtree(own_root / "fundus/test/good")
    medical(root=own_root).setup()
    assert "target 'fundus' has no normal test images: AUROC cannot be computed" in caplog.text


def test_a_target_without_test_images(medical: Make, own_root: Path) -> None:
    shutil.rmtree(own_root / "fundus/test")
    data = medical(root=own_root)
    with pytest.raises(ValueError, match=r"target='fundus' has no test images; choose another --data\.target"):
        data.setup()


def test_an_unreadable_mask_is_named(medical: Make, own_root: Path) -> None:
    mask = next((own_root / "fundus/ground_truth/blob").iterdir())
    mask.write_bytes(b"")
    data = medical(root=own_root)
    with pytest.raises(ImageReadError, match=rf"ground_truth/blob/{mask.name}': the file is empty"):
        data.setup()
