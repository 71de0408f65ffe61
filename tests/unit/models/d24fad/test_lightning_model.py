# SPDX-License-Identifier: Apache-2.0
"""D24FAD in anomalib's engine: one short fit on five images, and all that hangs on its checkpoint."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from anomalib.data import InferenceBatch
from anomalib.data.utils import read_image
from anomalib.engine import Engine
from anomalib.models import Padim
from anomalib.pre_processing import PreProcessor
from lightning.pytorch import Trainer
from omegaconf import OmegaConf
from PIL import Image
from torchvision.transforms.v2 import Resize

from anomalib_fsad.models.d24fad import D24FAD
from tests.conftest import toy_folder


def small(**options) -> D24FAD:
    return D24FAD(**{"k_shot": 2, "backbone": "resnet18", "pre_trained": False, "image_size": 64, **options})


def engine(folder: Path) -> Engine:
    return Engine(max_epochs=1, accelerator="cpu", default_root_dir=folder, logger=False, enable_progress_bar=False)


@pytest.fixture(scope="module")
def fitted(toy_root, tmp_path_factory):
    """Model, checkpoint, test metrics and the folder of results of one epoch on five images, two at a time."""
    folder = tmp_path_factory.mktemp("fit")
    model, data, run = small(), toy_folder(toy_root), engine(folder)
    run.fit(model=model, datamodule=data)
    metrics = run.test(model=model, datamodule=data)[0]
    return model.eval(), run.trainer.checkpoint_callback.best_model_path, metrics, folder


def predict(model, folder, tmp_path, checkpoint=None):
    batches = engine(tmp_path).predict(model=model, data_path=folder, ckpt_path=checkpoint)
    return {Path(p).name: s.item() for b in batches for p, s in zip(b.image_path, b.pred_score, strict=True)}, batches


def test_fit_and_test(fitted):
    model, checkpoint, metrics, _ = fitted
    assert Path(checkpoint).is_file()
    assert {"image_AUROC", "image_F1Score"} <= set(metrics)
    assert model.learning_type.value == "one_class"
    assert len(model.model.support) == 2


def test_predicts_from_the_checkpoint_alone_and_explains(fitted, toy_root, tmp_path):
    _, checkpoint, _, _ = fitted
    scores, batches = predict(small(seed=5), toy_root / "test/bad", tmp_path, checkpoint)
    again, _ = predict(D24FAD.load_from_checkpoint(checkpoint), toy_root / "test/bad", tmp_path)
    assert scores == pytest.approx(again, abs=1e-6)
    assert batches[0].support_weights.shape == (1, 2)
    assert batches[0].support_weights_by_scale.shape == (1, 3, 2)
    torch.testing.assert_close(batches[0].support_weights.sum(dim=1), torch.ones(1))


@pytest.mark.cli
def test_fresh_process_without_the_data(fitted, toy_root):
    model, checkpoint, _, _ = fitted
    image = toy_root / "test/bad/0.png"
    code = (
        "import sys, json, torch; from anomalib.data.utils import read_image; from anomalib_fsad import D24FAD;"
        "m = D24FAD.load_from_checkpoint(sys.argv[1]).eval();"
        "print(json.dumps(m(read_image(sys.argv[2], as_tensor=True)[None]).pred_score.tolist()))"
    )
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, checkpoint, str(image)], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(out.splitlines()[-1]) == pytest.approx(
        model(read_image(image, as_tensor=True)[None]).pred_score.tolist(), abs=1e-5
    )


def test_checkpoint_holds_a_support_encoded_by_its_own_weights(fitted):
    _, checkpoint, _, _ = fitted
    model = D24FAD.load_from_checkpoint(checkpoint).eval()
    stored = model.model.support.maps.values
    model.model.encode_support()
    for a, b in zip(stored, model.model.support.maps.values, strict=True):
        torch.testing.assert_close(a, b)


def test_two_few_shot_sources_score_differently(fitted, toy_root, tmp_path):
    """At test and predict time, by the engine and by loading, from one checkpoint."""
    _, checkpoint, _, _ = fitted
    maps = []
    for name, shade in (("dark", 20), ("light", 60)):
        source = tmp_path / name
        source.mkdir()
        for i in range(3):
            Image.new("RGB", (64, 64), (shade * (i + 1), 0, 0)).save(source / f"{i}.png")
        scores, batches = predict(
            small(few_shot_source=source, k_shot=3), toy_root / "test/bad", tmp_path / f"{name}1", checkpoint
        )
        assert batches[0].support_weights.shape == (1, 3)
        model = D24FAD.load_from_checkpoint(checkpoint, few_shot_source=source, k_shot=3)
        assert scores == pytest.approx(predict(model, toy_root / "test/bad", tmp_path / f"{name}2")[0], abs=1e-6)
        engine(tmp_path / f"{name}3").test(model=model, datamodule=toy_folder(toy_root), verbose=False)
        assert len(model.model.support) == 3
        # Before normalisation, which stretches what little there is between scores after one epoch.
        image = read_image(toy_root / "test/bad/0.png", as_tensor=True)[None]
        maps.append(model.eval().model(model.pre_processor(image)))
    assert (maps[0].pred_score - maps[1].pred_score).abs().min() > 1e-5
    assert (maps[0].anomaly_map - maps[1].anomaly_map).abs().max() > 1e-5


def test_the_engine_encodes_k_supports_and_n_images(fitted, toy_root, tmp_path):
    _, checkpoint, _, _ = fitted
    model = D24FAD.load_from_checkpoint(checkpoint)
    seen = []
    model.model.teacher.register_forward_hook(lambda _module, inputs, _maps: seen.append(len(inputs[0])))
    predict(model, toy_root / "test", tmp_path)
    assert sum(seen) == 2 + 6  # K = 2, and each of six images once


def test_another_k_shot_is_refused_and_none_takes_what_is_there(fitted, toy_root, tmp_path):
    _, checkpoint, _, _ = fitted
    with pytest.raises(ValueError, match=r"k_shot=4.*checkpoint holds 2 support images.*--model\.k_shot 2"):
        predict(small(k_shot=4), toy_root / "test/bad", tmp_path, checkpoint)
    _, batches = predict(small(k_shot=None), toy_root / "test/bad", tmp_path, checkpoint)
    assert batches[0].support_weights.shape == (1, 2)


def test_the_threshold_is_that_of_the_normal_images(fitted, toy_root, tmp_path):
    """Four supports: the threshold lies above their leave-one-out scores, and at one half of the scale."""
    _, checkpoint, _, _ = fitted
    model = D24FAD.load_from_checkpoint(checkpoint, few_shot_source=toy_root / "train/good", k_shot=4)
    raw = [verdict.pred_score.item() for verdict in model.model.leave_one_out((64, 64))]
    threshold = model.post_processor.image_threshold
    assert threshold > max(raw)
    scores = model.post_processor(InferenceBatch(pred_score=torch.tensor([*raw, threshold, 20.0, 21.0])))
    assert (scores.pred_score[:4] < 0.5).all()
    assert scores.pred_score[4] == pytest.approx(0.5)
    assert 0.5 < scores.pred_score[5] < scores.pred_score[6] < 1  # no two scores become the same
    fixed = D24FAD.load_from_checkpoint(
        checkpoint, few_shot_source=toy_root / "train/good", k_shot=4, threshold="validation"
    )
    assert fixed.post_processor.image_threshold != threshold


def test_validation_encodes_a_support_once(toy_root):
    model = small()
    seen = []
    model.model.teacher.register_forward_hook(lambda _module, inputs, _maps: seen.append(len(inputs[0])))
    a, b = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    first = model.eval()._described(torch.stack([a, b, a]))
    again = model._described(torch.stack([b, a]))
    assert seen == [4]
    torch.testing.assert_close(first.values[0][1], again.values[0][0])


def test_images_without_a_partner_are_told(toy_root, tmp_path, caplog):
    model = small(support_mode="in_batch")
    model.trainer = Trainer(logger=False, accelerator="cpu")
    batch = SimpleNamespace(image=torch.rand(3, 3, 64, 64), category=["a", "a", "b"])
    model.log = lambda *_, **__: None
    model.training_step(batch)
    assert "1 of 3 images of the first batch have no other of their category" in caplog.text
    assert "same_category_batches" in caplog.text


def test_wrong_checkpoints_are_told_apart(fitted, toy_root, tmp_path):
    _, checkpoint, _, _ = fitted
    with pytest.raises(ValueError, match=r"made with backbone='resnet18'.*--model\.backbone resnet18"):
        predict(small(backbone="resnet34"), toy_root / "test/bad", tmp_path, checkpoint)
    with pytest.raises(ValueError, match=r"made with image_score='max'.*--model\.image_score max"):
        predict(small(image_score="mean"), toy_root / "test/bad", tmp_path, checkpoint)
    with pytest.raises(ValueError, match="holds a model of another library, not D24FAD"):
        small().on_load_checkpoint({"state_dict": Padim(pre_trained=False).state_dict()})


def test_export_needs_a_support_set(tmp_path):
    for export in (small().to_torch, small().to_onnx):
        with pytest.raises(ValueError, match="cannot be exported without a support set"):
            export(tmp_path)


def test_pictures_show_the_support(fitted):
    _, _, _, folder = fitted
    pictures = sorted(folder.rglob("images/**/*.png"))
    assert len(pictures) >= 3  # Folder keeps half of the test images for validation
    with Image.open(pictures[0]) as picture:
        assert picture.height > 256 + 100  # a row of support images under anomalib's row of 256 px
        assert len(set(picture.crop((0, picture.height - 60, 200, picture.height)).getdata())) > 20


def test_too_few_normals_is_said_before_training(toy_root, tmp_path):
    with pytest.raises(ValueError, match="has 5 normal images, but k_shot=6"):
        engine(tmp_path).fit(model=small(k_shot=6), datamodule=toy_folder(toy_root))


def test_a_batch_of_one_is_said(toy_root, tmp_path):
    data = toy_folder(toy_root)
    data.train_batch_size = 1
    with pytest.raises(ValueError, match="Raise train_batch_size"):
        engine(tmp_path).fit(model=small(), datamodule=data)


def test_nan_loss_is_said(toy_root, tmp_path):
    model = small()
    torch.nn.init.constant_(model.model.l2w.projections[0].bias, float("nan"))
    with pytest.raises(ValueError, match=r"the loss became nan at step 0\. Lower the learning rate"):
        engine(tmp_path).fit(model=model, datamodule=toy_folder(toy_root))


@pytest.mark.parametrize(
    "options", [{"k_shot": 0}, {"support_mode": "both"}, {"image_score": "median"}, {"image_size": 100}]
)
def test_bad_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        small(**options)


def test_sizes_of_ones_own_pre_processor_are_checked():
    model = small(pre_processor=PreProcessor(Resize((100, 64))))
    with pytest.raises(ValueError, match=r"D24FAD was given images of 100 x 64 pixels.*multiples of 32"):
        model.use_support([torch.rand(3, 80, 80)])


def test_a_size_from_the_benchmarks_configuration_becomes_plain_numbers():
    assert small(image_size=OmegaConf.create([64, 96])).hparams["image_size"] == (64, 96)


@pytest.mark.parametrize("backbone", ["resnet34", "resnet50"])
def test_other_backbones(backbone):
    model = small(backbone=backbone).eval()
    model.use_support([torch.rand(3, 64, 64)] * 2)
    assert model(torch.rand(1, 3, 70, 60)).anomaly_map.shape == (1, 1, 64, 64)


def test_seed_makes_the_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    a = small(seed=1).model.student.layer1[0].conv1.weight
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(a, small(seed=1).model.student.layer1[0].conv1.weight)
    assert not torch.equal(a, small(seed=2).model.student.layer1[0].conv1.weight)


def test_max_epochs_is_passed_on_only_when_given():
    assert "max_epochs" not in small().trainer_arguments
    assert small(max_epochs=3).trainer_arguments["max_epochs"] == 3


def test_nearest_patches_through_the_engine(toy_root, tmp_path):
    model = small(k_shot=3, matching="nearest", spaces=["teacher", "student"])
    data, run = toy_folder(toy_root), engine(tmp_path)
    run.fit(model=model, datamodule=data)
    prediction = run.predict(model=model, datamodule=data)[0]
    assert prediction.support_weights.shape[1] == 3
    assert prediction.nearest_box.shape[1] == 4
    scores = torch.cat([verdict.pred_score for verdict in model.model.leave_one_out((64, 64))])
    assert model.post_processor.image_threshold > scores.max()
    saved = D24FAD.load_from_checkpoint(run.trainer.checkpoint_callback.best_model_path).eval()
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(saved.model(images).pred_score, model.eval().model(images).pred_score)
