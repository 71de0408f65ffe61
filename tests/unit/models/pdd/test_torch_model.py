# SPDX-License-Identifier: Apache-2.0
"""The network: teachers that stay frozen, one manifold, students that share what they may."""

import pytest
import torch

from anomalib_fsad.models.pdd import PDDModel
from anomalib_fsad.models.pdd.teachers import Teachers
from anomalib_fsad.models.pdd.torch_model import raw_map

SLIM = ["resnet18"]
PAIR = ["resnet18", "vmamba_atto"]


@pytest.fixture(scope="module")
def pair() -> PDDModel:
    torch.manual_seed(0)
    return PDDModel(PAIR, pre_trained=False)


@pytest.mark.parametrize("teachers", [SLIM, PAIR, ["resnet18", "resnet34"]], ids="+".join)
@pytest.mark.parametrize("size", [(64, 64), (96, 32)])
def test_levels_of_students_are_those_of_the_manifold(teachers, size):
    model = PDDModel(teachers, pre_trained=False).eval()
    with torch.no_grad():
        f, a, b = maps = model.distil(model.teachers(torch.rand(2, 3, *size)))
        assert raw_map(maps, size).shape == (2, 1, *size)
    for level in range(3):
        shape = (2, 64 << level, size[0] // (4 << level), size[1] // (4 << level))
        assert f[level].shape == a[level].shape == b[level].shape == shape


def test_one_teacher_is_its_own_manifold():
    model = PDDModel(SLIM, pre_trained=False)
    (features,) = model.teachers(torch.rand(1, 3, 64, 64))
    manifold = model.fusion([features])
    assert all(x is y for x, y in zip([*manifold.levels, manifold.deepest], features, strict=True))
    assert not list(model.fusion.parameters())


def test_students_differ_by_the_priors_alone(pair):
    pair.eval()
    with torch.no_grad():
        features = pair.teachers(torch.rand(2, 3, 64, 64))
        _, a, b = pair.distil(features)
        assert a[2] is b[2]  # no prior has come in yet
        assert not torch.allclose(a[1], b[1])
        manifold = pair.fusion(features)
        for level, student in zip(a, pair.student(manifold.deepest, pair.mpa(manifold)), strict=True):
            assert torch.equal(level, student)
        for level, student in zip(b, pair.student(manifold.deepest), strict=True):
            assert torch.equal(level, student)


def test_separate_students_have_weights_of_their_own():
    model = PDDModel(SLIM, pre_trained=False, share_students=False).eval()
    with torch.no_grad():
        _, a, b = model.distil(model.teachers(torch.rand(1, 3, 64, 64)))
    assert not torch.allclose(a[2], b[2])
    shared = PDDModel(SLIM, pre_trained=False)
    assert {f"plain_{name}" for name in shared.state_dict() if name.startswith("student.")} == (
        set(model.state_dict()) - set(shared.state_dict())
    )


def test_without_priors_shared_students_are_one():
    model = PDDModel(SLIM, pre_trained=False, priors=False)
    _, a, b = model.distil(model.teachers(torch.rand(1, 3, 64, 64)))
    assert a is b
    assert not [name for name in model.state_dict() if name.startswith("mpa.")]


def test_teachers_never_train(pair):
    pair.train()
    assert not any(module.training for module in pair.teachers.modules())
    assert not any(parameter.requires_grad for parameter in pair.teachers.parameters())
    before = {name: value.clone() for name, value in pair.teachers.state_dict().items()}
    features = pair.teachers(torch.rand(2, 3, 64, 64))
    assert not any(level.requires_grad for levels in features for level in levels)
    f, a, b = pair.distil(features)
    sum((level**2).mean() for level in [*f, *a, *b]).backward()
    assert all(parameter.grad is None for parameter in pair.teachers.parameters())
    assert all(torch.equal(before[name], value) for name, value in pair.teachers.state_dict().items())
    trained = {name for name, parameter in pair.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, parameter in pair.named_parameters() if parameter.requires_grad}


def test_scores_do_not_depend_on_the_batch(pair):
    pair.eval()
    images = torch.rand(3, 3, 64, 64)
    together = pair(images)
    alone = torch.cat([pair(images[i : i + 1]).pred_score for i in range(3)])
    torch.testing.assert_close(together.pred_score, alone, atol=1e-5, rtol=1e-5)
    assert torch.equal(together.pred_score, together.anomaly_map.amax(dim=(1, 2, 3)))
    assert not together.pred_score.requires_grad


def test_levels_are_those_of_the_spec():
    """A VMamba lies one octave below the ResNet at levels 1..3 and beside it at the deepest."""
    first, second = Teachers(PAIR, pre_trained=False)(torch.rand(1, 3, 64, 64))
    assert [y.shape[-1] for y in first] == [16, 8, 4, 2]
    assert [z.shape[-1] for z in second] == [8, 4, 2, 2]
