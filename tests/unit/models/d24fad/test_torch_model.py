# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from anomalib_fsad.models.d24fad import D24FADModel


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return D24FADModel("resnet18", pre_trained=False).eval()


@pytest.fixture
def images():
    return torch.rand(7, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_scores_do_not_depend_on_batch_size_or_order(model, images):
    model.set_support(torch.rand(3, 3, 64, 64))
    together = model(images)
    alone = torch.cat([model(image[None]).pred_score for image in images])
    torch.testing.assert_close(together.pred_score, alone, atol=1e-5, rtol=0)
    order = torch.tensor([3, 1, 6, 0, 5, 2, 4])
    shuffled = model(images[order])
    torch.testing.assert_close(shuffled.pred_score, together.pred_score[order], atol=1e-5, rtol=0)
    torch.testing.assert_close(shuffled.anomaly_map, together.anomaly_map[order], atol=1e-5, rtol=0)


def test_teacher_sees_each_image_once(model, images, monkeypatch):
    seen = []
    forward = model.teacher.forward
    monkeypatch.setattr(model.teacher, "forward", lambda x: (seen.append(len(x)), forward(x))[1])
    model.set_support(torch.rand(4, 3, 64, 64))
    for start in range(0, len(images), 2):
        model(images[start : start + 2])
    assert sum(seen) == 4 + len(images)


def test_another_support_set_gives_other_scores(model, images):
    model.set_support(torch.zeros(2, 3, 64, 64))
    dark = model(images).pred_score
    model.set_support(torch.rand(2, 3, 64, 64))
    assert (model(images).pred_score - dark).abs().max() > 1e-4


def test_an_image_is_no_anomaly_beside_itself(model, images):
    model.set_support(images[:1].expand(2, -1, -1, -1))
    scores = model(images).pred_score
    assert scores[0] < 1e-5
    assert (scores[1:] > 10 * scores[0].clamp(min=1e-7)).all()


def test_own_supports_equal_the_support_set(model, images):
    support = torch.rand(3, 3, 64, 64)
    model.set_support(support)
    from_set = model.predict_with_weights(images)
    own = model.predict_with_weights(images, model.describe(support.expand(len(images), -1, -1, -1, -1)))
    torch.testing.assert_close(own.predictions.pred_score, from_set.predictions.pred_score)
    torch.testing.assert_close(own.support_weights, from_set.support_weights)
    assert from_set.support_weights.shape == (7, 3, 3)  # B S K
    torch.testing.assert_close(from_set.support_weights.sum(dim=2), torch.ones(7, 3))


def test_in_batch_is_an_episode_without_the_second_pass(model, images):
    partners = torch.tensor([[1, 2], [0, 3], [5, 6], [4, 0], [6, 5], [2, 1], [3, 4]])
    counts = torch.stack([torch.bincount(row, minlength=7) for row in partners])
    cheap = model.in_batch(images, counts.float())
    episode = model.episode(images, images[partners])  # in eval mode batch norm does not tell the passes apart
    for a, b in zip(cheap, episode, strict=True):
        torch.testing.assert_close(a, b)


def test_training_reaches_student_and_weights_but_not_the_teacher(images):
    model = D24FADModel("resnet18", pre_trained=False).train()
    maps = model.episode(images[:2], torch.rand(2, 2, 3, 64, 64))
    (1 - torch.nn.functional.cosine_similarity(maps.student[0].flatten(1), maps.support[0].flatten(1))).sum().backward()
    assert model.l2w.projections[0].weight.grad is not None
    assert model.student.layer1[0].conv1.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.teacher.parameters())


def test_says_when_there_is_nothing_to_compare_with(images):
    model = D24FADModel("resnet18", pre_trained=False).eval()
    with pytest.raises(ValueError, match="few_shot_source"):
        model(images)
    model.set_support(torch.rand(2, 3, 96, 96))
    with pytest.raises(ValueError, match="encoded at another size"):
        model(images)


def test_image_score_mean(images):
    model = D24FADModel("resnet18", pre_trained=False, score="mean").eval()
    model.set_support(torch.rand(2, 3, 64, 64))
    predictions = model(images)
    torch.testing.assert_close(predictions.pred_score, predictions.anomaly_map.mean(dim=(1, 2, 3)))


def test_a_support_set_in_inference_mode_can_be_exported(images):
    model = D24FADModel("resnet18", pre_trained=False).eval()
    with torch.inference_mode():
        model.set_support(torch.rand(2, 3, 64, 64))
    assert not any(buffer.is_inference() for buffer in model.support.buffers())
