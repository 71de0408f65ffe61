# SPDX-License-Identifier: Apache-2.0
"""Arguments, their errors, reproducible noise, what is logged and what a checkpoint refuses."""

import copy
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from anomalib import LearningType
from anomalib.data import ImageBatch
from anomalib.pre_processing import PreProcessor
from lightning.pytorch import LightningModule, Trainer
from omegaconf import OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import Resize

from anomalib_fsad import SCRD4AD
from anomalib_fsad.models.scrd4ad.loss import scale_distances
from tests.unit.models.scrd4ad.conftest import TINY

BARE: dict[str, Any] = {**TINY, "post_processor": False, "evaluator": False, "visualizer": False}


def fit(model: LightningModule, root: Path, max_epochs: int = 1, **options: Any) -> Trainer:
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(images, batch_size=2, collate_fn=lambda items: ImageBatch(image=torch.stack(items)))
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = Trainer(accelerator="cpu", max_epochs=max_epochs, default_root_dir=root, **quiet, **options)
    trainer.fit(model, loader)
    return trainer


def test_the_papers_recipe_is_the_default() -> None:
    default = {name: option.default for name, option in inspect.signature(SCRD4AD).parameters.items()}
    assert default["backbone"] == "wide_resnet50_2"
    assert default["scale_weighting"] == "outside"
    assert default["image_score"] == "mean"
    assert default["image_size"] == 256
    model = SCRD4AD(backbone="resnet18", pre_trained=False)
    assert model.input_size == (256, 256)
    assert (model.noise_strength, model.noise_size, model.seed, model.lr) == (0.2, (10, 31), 111, 1e-3)
    assert model.configure_optimizers().defaults["betas"] == (0.5, 0.999)
    assert model.learning_type == LearningType.ONE_CLASS
    assert "max_epochs" not in model.trainer_arguments


def test_arguments_may_come_from_yaml() -> None:
    """The benchmark hands over OmegaConf's lists, which a safely loaded checkpoint cannot hold."""
    options = OmegaConf.create({"noise_size": [4, 8], "image_size": [64, 96]})
    model = SCRD4AD(**{**TINY, "noise_size": options.noise_size, "image_size": options.image_size}, max_epochs=3)
    assert model.hparams["noise_size"] == (4, 8)
    assert model.hparams["image_size"] == (64, 96)
    assert type(model.hparams["image_size"]) is tuple
    assert model.input_size == (64, 96)
    assert model.trainer_arguments["max_epochs"] == 3


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("noise_size", (31, 10), "shortest"),
        ("noise_size", (0, 10), "shortest"),
        ("noise_size", (10, 300), "longest"),
        ("image_size", 100, "multiples of 32"),
        ("image_size", (64, 70), "multiples of 32"),
        ("scale_weighting", "inside", "outside, none"),
        ("image_score", "median", "max, mean"),
        ("backbone", "resnet19", "resnet18"),
    ],
)
def test_a_wrong_argument_is_named_with_the_remedy(option: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        SCRD4AD(**{**TINY, option: value})
    assert option in str(error.value)


def test_the_same_seed_gives_the_same_weights_and_the_same_noise(tmp_path: Path) -> None:
    twins = [SCRD4AD(**BARE, seed=5) for _ in range(2)]
    for model in twins:
        fit(model, tmp_path)
    for a, b in zip(*(model.state_dict().values() for model in twins), strict=True):
        assert torch.equal(a, b)


def test_it_learns_and_its_head_does_not_collapse(tmp_path: Path) -> None:
    model = SCRD4AD(**BARE, lr=0.005, noise_strength=0.5, noise_size=(64, 192))
    images = model.pre_processor(torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)))

    def distance() -> Tensor:
        model.eval()
        clean, student, _ = model.model.distil(images)
        return scale_distances(clean, student).mean().detach()

    before = distance()
    metrics = fit(model, tmp_path, max_epochs=20).callback_metrics
    assert distance() < 0.9 * before
    assert metrics["train_scale_entropy"] > 0.1


def test_each_step_rank_and_seed_has_its_own_noise() -> None:
    def draw(seed: int = 111, global_rank: int = 0, global_step: int = 0) -> int:
        model = SCRD4AD(**BARE, seed=seed)
        model._trainer = SimpleNamespace(global_rank=global_rank, global_step=global_step)
        return model.step_generator().initial_seed()

    assert draw() == draw()
    assert len({draw(), draw(seed=112), draw(global_rank=1), draw(global_step=1)}) == 4


def test_loss_and_entropy_are_logged(tmp_path: Path) -> None:
    metrics = fit(SCRD4AD(**BARE), tmp_path).callback_metrics
    assert 0 < metrics["train_scale_entropy"] <= 1
    assert torch.isfinite(metrics["train_loss"])
    assert "train_scale_entropy" not in fit(SCRD4AD(**BARE, scale_weighting="none"), tmp_path).callback_metrics


def test_without_contrast_no_image_is_spoiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(*_: object) -> Tensor:
        raise AssertionError

    monkeypatch.setattr(SCRD4AD, "spoil", spoil)
    metrics = fit(SCRD4AD(**BARE, contrast=False, scale_weighting="none"), tmp_path).callback_metrics
    assert 0 < metrics["train_loss"] < 6  # three distances of at most 2
    assert "train_push" not in metrics


def test_training_on_a_pre_processor_that_does_not_normalise(tmp_path: Path) -> None:
    seen: list[Tensor] = []
    model = SCRD4AD(**BARE, pre_processor=PreProcessor(Resize((64, 64))))
    model.model.teacher.network.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].clone()))
    fit(model, tmp_path, limit_train_batches=1)
    clean, noisy = seen
    assert 0 <= clean.min() <= clean.max() <= 1
    largest = (noisy - clean).abs().max()
    assert 0 < largest <= 0.2 * 0.8 * 2.4


@pytest.mark.parametrize(
    ("option", "value"), [("scale_weighting", "none"), ("image_score", "max"), ("backbone", "resnet34")]
)
def test_a_checkpoint_of_another_kind_is_refused(option: str, value: str, scrd4ad_checkpoint: Path) -> None:
    checkpoint = torch.load(scrd4ad_checkpoint, weights_only=True)
    model = SCRD4AD(**{**BARE, option: value})
    with pytest.raises(ValueError, match=f"--model.{option}"):
        model.on_load_checkpoint(copy.deepcopy(checkpoint))


def test_arguments_of_the_checkpoint_come_back(scrd4ad_checkpoint: Path) -> None:
    model = SCRD4AD.load_from_checkpoint(scrd4ad_checkpoint, map_location="cpu")
    assert model.input_size == (64, 64)
    assert model.hparams["backbone"] == "resnet18"
    assert model.hparams["noise_size"] == (10, 31)


def test_image_features_multiply_the_score_and_leave_training_alone(tmp_path: Path) -> None:
    """They are remembered before the first step, once, and belong to the weights."""
    plain, known = SCRD4AD(**BARE), SCRD4AD(**BARE, image_features=True)
    for model in (plain, known):
        fit(model, tmp_path)
        model.eval()
    assert known.model.known.known.shape[0] == 4
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected, found = plain.model(images), known.model(images)
    torch.testing.assert_close(found.anomaly_map, expected.anomaly_map)
    strangeness = known.model.known.strangeness(known.model.teacher(images))
    torch.testing.assert_close(found.pred_score, expected.pred_score * strangeness)
    again = SCRD4AD(**BARE, image_features=True, seed=5)
    again.load_state_dict(known.state_dict())
    torch.testing.assert_close(again.eval().model(images).pred_score, found.pred_score)
