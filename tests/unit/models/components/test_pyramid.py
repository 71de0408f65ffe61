# SPDX-License-Identifier: Apache-2.0
import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file

from anomalib_fsad.models.components import (
    Teacher,
    WeightsUnavailableError,
    embedding_of,
    layout,
    read_state_dict,
    student_of,
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A local weight file as timm would load it, classifier and all, in both formats."""
    network = timm.create_model("resnet18")
    folder = tmp_path_factory.mktemp("weights")
    torch.save({"state_dict": network.state_dict()}, folder / "resnet18.pth")
    save_file(network.state_dict(), folder / "resnet18.safetensors")
    return network, folder


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_loads_a_local_file(weights, suffix):
    network, folder = weights
    teacher = Teacher("resnet18", strides=(4, 16), pre_trained=folder / f"resnet18.{suffix}")
    images = torch.rand(1, 3, 64, 64)
    network.eval()
    deep = network.layer3(
        network.layer2(network.layer1(network.maxpool(network.act1(network.bn1(network.conv1(images))))))
    )
    torch.testing.assert_close(teacher(images)[1], deep)


def test_never_trains():
    teacher = Teacher("resnet18", pre_trained=False).train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher(torch.rand(1, 3, 64, 64, requires_grad=True))[0].requires_grad


def test_says_what_is_wrong_with_weights(weights, tmp_path):
    _, folder = weights
    with pytest.raises(WeightsUnavailableError, match=r"resnet34\.tv_in1k.*pre_trained=path/to/weights"):
        Teacher("resnet34", pre_trained=True)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        Teacher("resnet18", pre_trained=tmp_path / "nowhere.pth")
    with pytest.raises(ValueError, match="does not hold the weights of backbone 'resnet34'"):
        Teacher("resnet34", pre_trained=folder / "resnet18.pth")
    with pytest.raises(ValueError, match="backbone='resnet19' is not a network of timm's"):
        Teacher("resnet19", pre_trained=False)


def test_never_unpickles_code(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    with (tmp_path / "bad.pth").open("wb") as file:
        pickle.dump(Payload(), file)
    with pytest.raises(ValueError, match="could not be read as plain tensors"):
        read_state_dict(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "backbone",
    [
        *("resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2", "resnext50_32x4d"),
        *("tf_efficientnet_lite0", "tf_efficientnet_lite2", "mobilenetv3_large_100", "regnety_004"),
        *("convnext_tiny", "swin_tiny"),
    ],
)
def test_every_backbone_has_levels_an_embedding_and_a_student_that_mirrors_them(backbone):
    """On the meta device, where shapes are computed and numbers are not."""
    with torch.device("meta"):
        teacher = Teacher(backbone, (4, 8, 16, 32), pre_trained=False)
        *levels, deepest = teacher(torch.zeros(2, 3, 64, 96))
        student = student_of(backbone, teacher.channels[3], teacher.channels[:3])
        embedding = embedding_of(backbone, teacher.channels[:3])
        two = student_of(backbone, 2 * teacher.channels[2], teacher.channels[:3])
        code = embedding(levels)
    assert [tuple(level.shape[-2:]) for level in (*levels, deepest)] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert [m.shape for m in student(deepest)] == [m.shape for m in levels]
    assert code.shape == (2, 2 * teacher.channels[2], 2, 3)
    assert [m.shape for m in two(code)] == [m.shape for m in levels]


def test_a_network_without_these_strides_is_refused():
    with pytest.raises(
        ValueError, match=r"backbone='vit_small_patch16_224' has maps at strides \[16, 16, 16\].*use one"
    ):
        layout("vit_small_patch16_224")


def test_the_wide_embedding_is_as_wide_as_its_teacher():
    with torch.device("meta"):
        wide, plain = (embedding_of(name, [256, 512, 1024]) for name in ("wide_resnet50_2", "resnet50"))
    assert wide.bn_layer[0].conv2.out_channels == 2 * plain.bn_layer[0].conv2.out_channels


def test_checkpoints_of_the_first_release_still_load():
    teacher = Teacher("resnet18", pre_trained=False)
    old = {f"extractor.feature_extractor.{k.removeprefix('network.')}": v for k, v in teacher.state_dict().items()}
    other = Teacher("resnet18", pre_trained=False)
    other.load_state_dict(old)
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in teacher.state_dict().items())
