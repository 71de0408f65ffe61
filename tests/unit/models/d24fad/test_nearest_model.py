# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from PIL import Image

from anomalib_fsad.models.d24fad import D24FAD
from anomalib_fsad.models.d24fad.nearest_model import NearestModel
from anomalib_fsad.models.d24fad.visualizer import BOX_COLOR, with_box

OPTIONS = {"spaces": ("teacher", "residual", "student"), "augment_support": True, "calibrate": True}


def leave_one_out_scores(model):
    """The raw scores of the K supports, each by the other K - 1."""
    return [verdict.pred_score for verdict in model.leave_one_out(model.support.images.shape[-2:])]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = NearestModel("resnet18", pre_trained=False, score="top10p", **OPTIONS).eval()
    model.set_support(torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(2)))
    return model


@pytest.fixture
def images():
    return torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_scores_do_not_depend_on_batch_size_or_order(model, images):
    together = model(images)
    alone = torch.cat([model(image[None]).pred_score for image in images])
    torch.testing.assert_close(together.pred_score, alone, atol=1e-4, rtol=0)
    order = torch.tensor([3, 1, 0, 2, 4])
    torch.testing.assert_close(model(images[order]).anomaly_map, together.anomaly_map[order], atol=1e-4, rtol=0)


def test_what_is_explained_is_what_is_scored(model, images):
    explained = model.predict_with_weights(images)
    torch.testing.assert_close(explained.predictions.pred_score, model(images).pred_score)
    assert explained.support_weights.shape == (5, 10, 3)  # B levels K
    torch.testing.assert_close(explained.support_weights.sum(2), torch.ones(5, 10))


def test_own_banks_equal_the_support_set(model, images):
    bank = model.bank(model.support.images)
    own = model.predict_with_weights(images, [bank] * len(images))
    from_set = model.predict_with_weights(images)
    torch.testing.assert_close(own.predictions.anomaly_map, from_set.predictions.anomaly_map, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(own.nearest.box, from_set.nearest.box)


def test_a_support_is_nearest_to_itself(model):
    supports = model.support.images
    scores = model(supports).pred_score
    assert (scores < 1e-3).all()
    explained = model.predict_with_weights(supports)
    assert (explained.support_weights.argmax(2) == torch.arange(3)[:, None]).all()
    assert explained.nearest.support.tolist() == [0, 1, 2]
    hottest = explained.predictions.anomaly_map.flatten(1).argmax(1)
    left, top, right, bottom = (64 * explained.nearest.box).unbind(1)
    assert ((left <= hottest % 64) & (hottest % 64 <= right)).all()
    assert ((top <= hottest // 64) & (hottest // 64 <= bottom)).all()


def test_leave_one_out_is_the_score_by_the_others(model):
    assert [score.shape for score in leave_one_out_scores(model)] == 3 * [(1,)]
    alone = NearestModel("resnet18", pre_trained=False, spaces=["teacher"]).eval()
    images = model.support.images
    alone.set_support(images)
    expected = []
    for left_out in range(3):
        alone.set_support(torch.cat([images[:left_out], images[left_out + 1 :]]))
        expected.append(alone(images[left_out : left_out + 1]).pred_score)
    alone.set_support(images)
    torch.testing.assert_close(leave_one_out_scores(alone), expected, atol=1e-5, rtol=1e-5)


def test_leave_one_out_is_the_same_in_training(model):
    expected = leave_one_out_scores(model)
    model.train()
    try:
        torch.testing.assert_close(leave_one_out_scores(model), expected)
        assert model.training
    finally:
        model.eval()


def test_one_support_leaves_nothing_out(images):
    model = NearestModel("resnet18", pre_trained=False, spaces=["teacher"], calibrate=True).eval()
    model.set_support(images[:1])
    assert len(leave_one_out_scores(model)) == 0
    assert model(images).pred_score[0] < model(images).pred_score[1:].min()


def test_more_supports_never_make_an_image_stranger(images):
    model = NearestModel("resnet18", pre_trained=False, spaces=["teacher"]).eval()
    supports = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    model.set_support(supports[:2])
    few = model(images).anomaly_map
    model.set_support(supports)
    assert (model(images).anomaly_map <= few + 1e-5).all()


def test_the_bank_travels_with_the_weights(model, images):
    other = NearestModel("resnet18", pre_trained=False, score="top10p", **OPTIONS).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(images).pred_score, model(images).pred_score)


@pytest.mark.slow
def test_exported_program_equals_the_model(model, images):
    program = torch.export.export(model, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    torch.testing.assert_close(program.module()(images).anomaly_map, model(images).anomaly_map, atol=1e-4, rtol=0)


def test_autocast_leaves_maps_and_bank_in_float32(model, images):
    with torch.autocast("cpu", torch.bfloat16):
        bank = model.bank(model.support.images)
        predictions = model(images)
    assert {level.patches.dtype for level in bank.levels} == {torch.float32}
    assert predictions.anomaly_map.dtype == predictions.pred_score.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"matching": "near"}, "matching"),
        ({"matching": "nearest", "spaces": []}, "spaces"),
        ({"matching": "nearest", "spaces": ["pixels"]}, "spaces"),
        ({"spaces": ["teacher"]}, "--model.matching nearest"),
        ({"calibrate": True}, "--model.matching nearest"),
    ],
)
def test_bad_options_are_named(options, named):
    with pytest.raises(ValueError, match=named):
        D24FAD(k_shot=2, backbone="resnet18", pre_trained=False, image_size=64, **options)


def test_the_box_is_drawn_where_it_is():
    supports = [Image.new("RGB", (40, 40)) for _ in range(2)]
    plain, boxed = with_box(supports, 1, [0.5, 0.25, 0.75, 0.5])
    assert plain.getbbox() is None
    assert boxed.getpixel((20, 10)) == BOX_COLOR
    assert boxed.getbbox() == (20, 10, 31, 21)
