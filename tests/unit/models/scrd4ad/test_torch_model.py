# SPDX-License-Identifier: Apache-2.0
"""The network: order of scales, what learns, what the noisy images pass, scores that depend on one image alone."""

import pytest
import torch
from torch import Tensor

from anomalib_fsad.models.scrd4ad import ContrastiveDistillationLoss, SCRD4ADModel


@pytest.fixture(params=["outside", "none"])
def model(request: pytest.FixtureRequest) -> SCRD4ADModel:
    torch.manual_seed(0)
    return SCRD4ADModel("resnet18", pre_trained=False, scale_weighting=request.param)


def images(count: int = 3, size: tuple[int, int] = (64, 64)) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(0))


def test_student_and_teacher_go_from_shallow_to_deep(model: SCRD4ADModel) -> None:
    clean, student, _ = model.distil(images())
    assert [tuple(f.shape[1:]) for f in clean] == [(64, 16, 16), (128, 8, 8), (256, 4, 4)]
    assert [f.shape for f in student] == [f.shape for f in clean]


def test_all_that_is_not_frozen_learns_and_the_head_only_when_weighted_outside(model: SCRD4ADModel) -> None:
    model.train()
    batch = images()
    ContrastiveDistillationLoss()(*model(batch, batch + 0.3 * images(3).flip(0)))["loss"].backward()
    # A trainable parameter without a gradient is an error under DDP.
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    head = model.scale_head.weight.grad
    if model.weighted:
        assert head is not None
        assert head.abs().sum() > 0
    else:
        assert head is None
    assert not any(p.requires_grad for p in model.teacher.parameters())


def test_the_noisy_images_pass_the_teacher_alone(model: SCRD4ADModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model.train()
    looked: list[int] = []
    look = model.teacher.look
    monkeypatch.setattr(model.teacher, "look", lambda batch: looked.append(len(batch)) or look(batch))
    seen: dict[str, list[int]] = {"bottleneck": [], "decoder": []}
    for name, calls in seen.items():
        getattr(model, name).register_forward_pre_hook(
            lambda _module, inputs, calls=calls: calls.append(
                len(inputs[0][0] if isinstance(inputs[0], list) else inputs[0])
            )
        )
    model(images(), images())
    assert len(looked) == 2
    assert len(seen["bottleneck"]) == len(seen["decoder"]) == 1


def test_teacher_stays_as_it_is_in_training(model: SCRD4ADModel) -> None:
    before = {k: v.clone() for k, v in model.teacher.state_dict().items()}
    model.train()
    model(images(), images())
    assert not model.teacher.training
    assert all(torch.equal(v, before[k]) for k, v in model.teacher.state_dict().items())


def test_scores_do_not_depend_on_the_rest_of_the_batch(model: SCRD4ADModel) -> None:
    model.eval()
    batch = images(5)
    together = model(batch)
    alone = torch.cat([model(image[None]).pred_score for image in batch])
    backwards = model(batch.flip(0)).pred_score.flip(0)
    assert torch.allclose(together.pred_score, alone, atol=1e-5)
    assert torch.allclose(together.pred_score, backwards, atol=1e-5)
    assert not together.pred_score.requires_grad


def test_shapes_and_score_of_an_oblong_image(model: SCRD4ADModel) -> None:
    model.eval()
    mean = model(images(2, (64, 96)))
    assert mean.anomaly_map.shape == (2, 1, 64, 96)
    assert torch.allclose(mean.pred_score, mean.anomaly_map.mean((1, 2, 3)))
    model.image_score = "max"
    assert torch.allclose(model(images(2, (64, 96))).pred_score, mean.anomaly_map.amax((1, 2, 3)))


def test_weights_outside_sum_to_one(model: SCRD4ADModel) -> None:
    log_weights = model.distil(images())[2]
    if model.weighted:
        assert log_weights is not None
        assert log_weights.shape == (3, 3)
        assert torch.allclose(log_weights.exp().sum(1), torch.ones(3))
    else:
        assert log_weights is None


@pytest.mark.parametrize("size", [(64, 100), (33, 64)])
def test_a_size_the_backbone_cannot_divide_is_refused(size: tuple[int, int], model: SCRD4ADModel) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        model.eval()(images(1, size))


def test_one_image_of_one_cell_cannot_train(model: SCRD4ADModel) -> None:
    with pytest.raises(ValueError, match="train_batch_size"):
        model.train()(images(1, (32, 32)), images(1, (32, 32)))
