# SPDX-License-Identifier: Apache-2.0
"""Arguments and their errors, training with and without a cache, what is logged and what a checkpoint refuses."""

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.data import ImageBatch
from lightning.pytorch import LightningModule, Trainer
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from anomalib_fsad import PDD
from anomalib_fsad.models.components import WeightsUnavailableError
from anomalib_fsad.models.pdd.teachers import plain_weights
from tests.unit.models.pdd.conftest import SLIM, TINY

BARE: dict[str, Any] = {**SLIM, "post_processor": False, "evaluator": False, "visualizer": False}


def fit(
    model: LightningModule, root: Path, images: int = 4, size: int = 64, data: Any = None, **options: Any
) -> Trainer:
    if data is None:
        pixels = torch.rand(images, 3, size, size, generator=torch.Generator().manual_seed(0))
        data = DataLoader(
            list(pixels), batch_size=2, shuffle=True, collate_fn=lambda items: ImageBatch(image=torch.stack(items))
        )
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "limit_val_batches": 0,
    }
    trainer = Trainer(**{"accelerator": "cpu", "max_epochs": 1, "default_root_dir": root, **quiet, **options})
    trainer.fit(model, data)
    return trainer


def test_the_papers_recipe_is_the_default() -> None:
    defaults = {name: option.default for name, option in inspect.signature(PDD).parameters.items()}
    assert (defaults["backbone"], defaults["second_backbone"]) == ("wide_resnet50_2.racm_in1k", "vmamba_tiny")
    assert (defaults["objective"], defaults["share_students"], defaults["priors"]) == ("paper", True, True)
    assert (defaults["shallow_similarity"], defaults["deep_similarity"], defaults["lr"]) == (0.75, 0.30, 2e-3)
    assert (defaults["kr_weight"], defaults["mse_weight"], defaults["cosine_weight"]) == (0.02, 0.02, 0.05)
    assert (defaults["div_weight"], defaults["image_size"], defaults["max_epochs"]) == (0.5, 256, None)


def test_the_rate_falls_to_a_tenth_in_forty_epochs() -> None:
    configured = PDD(**BARE).configure_optimizers()
    optimizer, annealing = configured["optimizer"], configured["lr_scheduler"]
    assert optimizer.defaults["betas"] == (0.5, 0.999)
    rates = []
    for _epoch in range(81):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        annealing.step()
    assert rates[0] == pytest.approx(2e-3)
    assert rates[40] == pytest.approx(2e-4)
    assert rates[80] == pytest.approx(2e-3)


def test_arguments_may_come_from_yaml() -> None:
    """The benchmark hands over OmegaConf's lists, which a safely loaded checkpoint cannot hold."""
    options = OmegaConf.create({"image_size": [64, 96], "pre_trained": [False]})
    model = PDD(**{**SLIM, **{name: options[name] for name in options}}, max_epochs=3)
    assert model.hparams["pre_trained"] == [False]
    assert model.hparams["image_size"] == model.input_size == (64, 96)
    assert model.trainer_arguments["max_epochs"] == 3


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("backbone", "vmamba_tiny", "as second_backbone"),
        ("backbone", "resnet19", "resnet18"),
        ("backbone", "vit_small_patch16_224", "convnext_tiny"),
        ("second_backbone", "vmamba_large", "vmamba_tiny"),
        ("second_backbone", "vit_small_patch16_224", "strides"),
        ("pre_trained", ["a.pth", "b.pth"], r"each of the teachers \['resnet18'\]"),
        ("image_size", 100, "multiples of 32"),
        ("image_size", (64, 70), "multiples of 32"),
        ("objective", "published", "paper, released"),
        ("teachers", ["resnet18"] * 3, "must be one or two names"),
        ("cache_teachers", "gpu", "none, ram, disk"),
        ("tau_low", 75, "between -1 and 1"),
        ("tau_high", -3, "between -1 and 1"),
    ],
)
def test_a_wrong_argument_is_named_with_the_remedy(option: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        PDD(**{**SLIM, option: value})
    assert option in str(error.value)


def test_one_weight_file_for_each_teacher(tmp_path: Path) -> None:
    names = ["resnet18", "vmamba_tiny"]
    for pre_trained in ([False, "b.pth"], {"vmamba_tiny": "b.pth", "resnet18": False}, (False, Path("b.pth"))):
        assert plain_weights(names, pre_trained) == [False, "b.pth"]
    assert plain_weights(["resnet18"], "a.pth") == ["a.pth"]
    for wrong in ("a.pth", ["a.pth"], {"resnet18": "a.pth"}, {"resnet18": "a.pth", "resnet34": "b.pth"}):
        with pytest.raises(ValueError, match=r"pre_trained=.*'resnet18', 'vmamba_tiny'"):
            plain_weights(names, wrong)
    source = PDD(**{**TINY, "seed": 1}).model.teachers.networks
    torch.save(source[0].network.state_dict(), tmp_path / "resnet.pth")
    torch.save({"model": source[1].state_dict()}, tmp_path / "vmamba.pth")
    loaded = PDD(**{**TINY, "pre_trained": [str(tmp_path / "resnet.pth"), str(tmp_path / "vmamba.pth")], "seed": 2})
    for a, b in zip(source.state_dict().values(), loaded.model.teachers.networks.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_failed_download_says_what_to_do() -> None:
    with pytest.raises(WeightsUnavailableError, match="pre_trained"):
        PDD(**{**TINY, "pre_trained": [False, True]})


@pytest.mark.parametrize("objective", ["paper", "released"])
def test_training_lowers_the_loss(objective: str, tmp_path: Path) -> None:
    model = PDD(**BARE, objective=objective)
    losses = [fit(model, tmp_path, max_epochs=3).callback_metrics["train_loss_epoch"].item() for _round in range(2)]
    assert losses[1] < losses[0]


def test_the_parts_of_the_loss_are_logged(tmp_path: Path) -> None:
    metrics = fit(PDD(**BARE), tmp_path).callback_metrics
    assert {"train_loss", "train_kr", "train_mse", "train_cosine", "train_div"} <= set(metrics)
    assert all(torch.isfinite(value) for value in metrics.values())


def test_a_single_smallest_image_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train_batch_size.*image_size"):
        fit(PDD(**{**BARE, "image_size": 32}), tmp_path, images=3, size=32)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    twins = [PDD(**BARE, seed=5) for _ in range(2)]
    for model in twins:
        fit(model, tmp_path)
    for a, b in zip(*(model.state_dict().values() for model in twins), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("option", "value"), [("second_backbone", None), ("share_students", False), ("priors", False)])
def test_a_checkpoint_of_another_kind_is_refused(option: str, value: Any, pdd_checkpoint: Path) -> None:
    checkpoint = torch.load(pdd_checkpoint, weights_only=True)
    model = PDD(**{**TINY, "visualizer": False, option: value})
    with pytest.raises(ValueError, match=f"--model.{option}"):
        model.on_load_checkpoint(copy.deepcopy(checkpoint))


def test_arguments_of_the_checkpoint_come_back(pdd_checkpoint: Path) -> None:
    model = PDD.load_from_checkpoint(pdd_checkpoint, map_location="cpu")
    assert model.input_size == (64, 64)
    assert (model.hparams["backbone"], model.hparams["second_backbone"]) == ("resnet18", "vmamba_atto")


def test_names_of_earlier_releases_still_work(caplog: pytest.LogCaptureFixture) -> None:
    names = {"backbone", "second_backbone"}
    given = {name: value for name, value in TINY.items() if name not in names}
    model = PDD(**given, teachers=["resnet18", "vmamba_atto"], tau_low=0.5, tau_high=0.2)
    assert "use backbone and second_backbone" in caplog.text
    assert {name: model.hparams[name] for name in names} == {name: TINY[name] for name in names}
    assert (model.loss.tau_low, model.loss.tau_high) == (0.5, 0.2)
    assert model.hparams["teachers"] is model.hparams["tau_low"] is None


def test_a_second_teacher_is_normalised_by_its_own_statistics() -> None:
    model = PDD(**{**TINY, "second_backbone": "tf_efficientnet_lite0", "visualizer": False}).eval()
    first, second = model.model.teachers.networks
    images = torch.rand(2, 3, 64, 64)
    seen = model.model.teachers(model.pre_processor(images))
    imagenet = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    for level, expected in zip(seen[0], first((images - imagenet[0]) / imagenet[1]), strict=True):
        torch.testing.assert_close(level, expected, atol=1e-4, rtol=1e-4)
    for level, expected in zip(seen[1], second((images - 0.5) / 0.5), strict=True):
        torch.testing.assert_close(level, expected, atol=1e-4, rtol=1e-3)


def test_image_features_multiply_the_score(tmp_path: Path) -> None:
    """They are of the first teacher, and remembered before the first step."""
    model = PDD(**BARE, image_features=True)
    fit(model, tmp_path)
    model.eval()
    assert model.model.known.known.shape[0] == 4
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    features = model.model.teachers(images)
    found = model.model(images)
    strangeness = model.model.known.strangeness(features[0])
    torch.testing.assert_close(found.pred_score, found.anomaly_map.amax(dim=(1, 2, 3)) * strangeness)
