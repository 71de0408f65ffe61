# SPDX-License-Identifier: Apache-2.0
import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file

from anomalib_fsad.models.components import Teacher, WeightsUnavailableError, read_state_dict


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
    teacher = Teacher("resnet18", stages=(1, 3), pre_trained=folder / f"resnet18.{suffix}")
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
    with pytest.raises(ValueError, match="backbone='resnet19' is not a timm model"):
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
