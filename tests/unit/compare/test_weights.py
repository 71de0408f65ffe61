# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from anomalib_fsad.compare.building import Teachers, build_model
from anomalib_fsad.compare.weights import find_weights, untrained_weights
from anomalib_fsad.plugin import register


def test_every_model_gets_the_weights_of_the_file(tmp_path):
    register()
    file = untrained_weights(tmp_path, "resnet18", seed=4)
    assert find_weights(tmp_path, "resnet18") == file
    wanted = torch.load(file, weights_only=True)["layer2.0.conv1.weight"]
    for pre_trained in (False, file, tmp_path):
        teachers = Teachers(pre_trained, tmp_path)
        for name in ("Stfpm", "SCRD4AD"):
            config = {"class_path": name, "init_args": {"backbone": "resnet18"}}
            model, source = build_model(config, 64, teachers, seed=4)
            state = model.state_dict()
            found = [v for key, v in state.items() if "teacher" in key and key.endswith("layer2.0.conv1.weight")]
            assert len(found) == 1
            assert torch.equal(found[0], wanted)
            assert source == (file.name if pre_trained else "untrained")


def test_a_missing_weight_file_is_named(tmp_path):
    (tmp_path / "wide_resnet50_2.pth").touch()
    with pytest.raises(FileNotFoundError, match="resnet50"):
        find_weights(tmp_path, "resnet50")
    assert find_weights(tmp_path, "wide_resnet50_2").name == "wide_resnet50_2.pth"
    # The bare name holds torchvision's weights, which are not those of PDD's teacher.
    with pytest.raises(FileNotFoundError, match=r"wide_resnet50_2\.racm_in1k"):
        find_weights(tmp_path, "wide_resnet50_2.racm_in1k")
    (tmp_path / "wide_resnet50_2.racm_in1k.pth").touch()
    assert find_weights(tmp_path, "wide_resnet50_2.racm_in1k").name == "wide_resnet50_2.racm_in1k.pth"
