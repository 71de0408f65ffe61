# SPDX-License-Identifier: Apache-2.0
import pytest
import timm
import torch
from torchvision.transforms.v2 import Normalize

from anomalib_fsad.compare.building import Teachers, arguments_of, build_model
from anomalib_fsad.compare.fitting import fitting_arguments, stages

LITE = "tf_efficientnet_lite0"


@pytest.mark.parametrize("backbone", [LITE, "mobilenetv3_large_100", "convnext_tiny", "resnet18"])
def test_stages_are_named_by_their_strides(backbone):
    found = stages(backbone)
    network = timm.create_model(backbone, features_only=True, pretrained=False)
    maps = {64 // m.shape[-2 if m.shape[-1] == m.shape[-2] else 1]: m for m in network(torch.zeros(1, 3, 64, 64))}
    for stride in (4, 8, 16, 32):
        assert found[stride].channels == maps[stride].shape[1]


def test_a_resnet_is_what_the_defaults_are_for():
    assert fitting_arguments(arguments_of("Padim"), {}, "resnet18") == {}


def test_what_is_given_stays():
    assert fitting_arguments(arguments_of("Dfm"), {"layer": "blocks.1"}, LITE) == {}


@pytest.mark.parametrize("name", ["Patchcore", "Padim", "Stfpm", "Dfm"])
def test_built_ins_take_the_small_teacher_and_its_statistics(name, tmp_path):
    config = {"class_path": name, "init_args": {"backbone": LITE}}
    model, source = build_model(config, 64, Teachers(pre_trained=False, scratch=tmp_path), seed=0)
    assert source == "untrained"
    (normalize,) = [m for m in model.pre_processor.transform.transforms if isinstance(m, Normalize)]
    assert list(normalize.mean) == list(normalize.std) == [0.5, 0.5, 0.5]
    model.model.train()
    assert model.model(model.pre_processor(torch.rand(2, 3, 64, 64))) is not None
