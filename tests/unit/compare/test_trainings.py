# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch

from anomalib_fsad.compare.building import find_model
from anomalib_fsad.compare.cells import Overrides, cells_of
from anomalib_fsad.compare.comparison import benchmarks_of
from anomalib_fsad.compare.trainings import Trainings
from anomalib_fsad.plugin import register


@pytest.fixture(autouse=True)
def _registered():
    register()


def cell_of(**given):
    small = {"targets": ["lung"], "seeds": [0], "k_shots": [2], "backbone": "resnet18", "image_size": 64}
    (cell,) = cells_of(benchmarks_of(["D24FAD"], few_shot=True), Overrides(**(small | given)))
    return cell


def test_a_file_is_named_by_what_has_a_say_in_the_training():
    def name(**given):
        return Trainings(Path()).file(cell_of(**given)).name

    shown = {"model.matching": "nearest", "model.spaces": ["teacher"], "model.image_score": "mean"}
    assert name() == name(options=shown) == name(root="elsewhere")
    assert name(train_k_shot=4, k_shots=[2]) == name(train_k_shot=4, k_shots=[8])
    assert name(train_seed=0, seeds=[1]) == name(train_seed=0, seeds=[2]) == name()
    different = [{"seeds": [1]}, {"k_shots": [8]}, {"max_epochs": 2}, {"options": {"model.lr": 0.5}}]
    assert len({name(), *(name(**given) for given in different)}) == 5


def test_weights_come_back_without_teacher_and_supports(tmp_path):
    def model():
        return find_model("D24FAD")(backbone="resnet18", pre_trained=False, image_size=64, seed=None)

    cell, trainings, first = cell_of(), Trainings(tmp_path), model()
    assert trainings.load(cell, first) is None
    first.model.set_support(torch.rand(2, 3, 64, 64))
    trainings.keep(cell, first, {"epochs": 3})
    second = model()
    assert trainings.load(cell, second) == {"epochs": 3}
    assert len(second.model.support) == 0
    for name, weight in second.model.student.state_dict().items():
        assert torch.equal(weight, first.model.student.state_dict()[name])


def test_weights_of_another_network_are_refused(tmp_path):
    cell, trainings = cell_of(), Trainings(tmp_path)
    trainings.keep(cell, find_model("SCRD4AD")(backbone="resnet18", pre_trained=False, image_size=64), {})
    with pytest.raises(ValueError, match=r"another network's weights.*delete it"):
        trainings.load(cell, find_model("D24FAD")(backbone="resnet18", pre_trained=False, image_size=64))
