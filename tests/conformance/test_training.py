# SPDX-License-Identifier: Apache-2.0
"""How long a model trains, that it trains the same each time and after a stop, and what it says when it cannot."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.data import AnomalibDataModule
from anomalib.engine import Engine
from lightning.pytorch import Callback, LightningModule, Trainer

from tests.conformance.conftest import QUIET, Variant
from tests.conformance.test_data import medical
from tests.conftest import cli, folder_arguments, toy_folder

# Lengths -------------------------------------------------------------------------------------------------------------


class Stopped(Exception):
    """The trainer is about to train."""


class StopAtOnce(Callback):
    """Ends a fit where its length is settled and nothing is trained."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        raise Stopped


def length(model: Any, root: Path, folder: Path, **trainer: Any) -> tuple[int | None, int]:
    """Epochs and steps that a fit would train."""
    engine = Engine(callbacks=[StopAtOnce()], default_root_dir=folder, **trainer, **QUIET)
    with pytest.raises(Stopped):
        engine.fit(model, datamodule=toy_folder(root))
    return engine.trainer.max_epochs, engine.trainer.max_steps


def test_lengths(variant: Variant, toy_root: Path, tmp_path: Path) -> None:
    """The recipe's, unless the trainer or the model is told another; the model's own wins."""
    model = variant.build()
    by_recipe = (-1, model.recipe.length) if model.recipe.unit == "steps" else (model.recipe.length, -1)
    assert length(model, toy_root, tmp_path) == by_recipe
    assert length(model, toy_root, tmp_path, max_epochs=1) == (1, -1)
    assert length(model, toy_root, tmp_path, max_steps=7)[1] == 7
    assert length(variant.build(max_epochs=3), toy_root, tmp_path, max_epochs=1) == (3, -1)


# The trainer's options -----------------------------------------------------------------------------------------------


def test_a_users_clipping_and_precision_are_kept(variant: Variant, toy_root: Path, tmp_path: Path) -> None:
    options = ["--trainer.gradient_clip_val=0.5", "--trainer.precision=bf16-mixed", "--trainer.max_steps=1"]
    run = cli("fit", *variant.options(), *options, *folder_arguments(toy_root), root=tmp_path)
    assert run.engine.trainer.gradient_clip_val == 0.5
    assert run.engine.trainer.global_step == 1
    gradients = [p.grad for p in run.model.model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


class BreakWeights(Callback):
    """What a learning rate too high ends in."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for parameter in pl_module.model.parameters():
            if parameter.requires_grad:
                torch.nn.init.constant_(parameter, torch.nan)


def test_a_loss_that_is_no_number_is_said(variant: Variant, toy_root: Path, tmp_path: Path) -> None:
    engine = Engine(default_root_dir=tmp_path, callbacks=[BreakWeights()], **QUIET)
    with pytest.raises(ValueError, match=rf"{variant.name}: the loss became nan at step 0.*Lower the learning rate"):
        engine.fit(variant.build(max_epochs=1), datamodule=toy_folder(toy_root))


# The same again ------------------------------------------------------------------------------------------------------


def spin() -> None:
    while True:
        pass


@contextmanager
def busy_machine() -> Iterator[None]:
    """Another process computes as fast as it can, so that threads wait for one another in ever other orders."""
    process = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def trained(model: Any, data: AnomalibDataModule, folder: Path, **options: Any) -> dict[str, torch.Tensor]:
    """The state that a fit ends with."""
    Engine(default_root_dir=folder, **options, **QUIET).fit(model, datamodule=data)
    return {name: value.clone() for name, value in model.model.state_dict().items()}


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different, f"{len(different)} of {len(first)} tensors differ: {different[:5]}"


@pytest.fixture(scope="session")
def medical_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("phantom") / "data"


@pytest.mark.usefixtures("two_threads")
def test_one_seed_gives_one_result(variant: Variant, toy_root: Path, tmp_path: Path) -> None:
    """Three runs with two threads each; a machine under load is the third."""

    def run() -> dict[str, torch.Tensor]:
        return trained(variant.build(max_epochs=1), toy_folder(toy_root), tmp_path)

    first, second = run(), run()
    assert_equal(first, second)
    with busy_machine():
        assert_equal(first, run())


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("mode", ["episode", "in_batch"])
def test_one_seed_gives_one_result_with_episodes(mode: str, medical_root: Path, tmp_path: Path) -> None:
    def run() -> dict[str, torch.Tensor]:
        model = Variant("D24FAD", "resnet18").build(support_mode=mode, max_epochs=1)
        return trained(model, medical(medical_root), tmp_path)

    first, second = run(), run()
    assert_equal(first, second)
    with busy_machine():
        assert_equal(first, run())


def assert_resumes(build: Callable[[], Any], data: Callable[[], AnomalibDataModule], folder: Path) -> None:
    """Two epochs in one go are one epoch, its checkpoint, and another."""
    whole = trained(build(), data(), folder / "whole", max_epochs=2)
    trained(build(), data(), folder / "half", max_epochs=1)
    (checkpoint,) = (folder / "half").rglob("*.ckpt")
    engine = Engine(default_root_dir=folder / "resumed", max_epochs=2, **QUIET)
    model = build()
    engine.fit(model, datamodule=data(), ckpt_path=checkpoint)
    assert engine.trainer.current_epoch == 2
    assert_equal(whole, model.model.state_dict())


def test_resumes_exactly(variant: Variant, toy_root: Path, tmp_path: Path) -> None:
    assert_resumes(variant.build, lambda: toy_folder(toy_root), tmp_path)


@pytest.mark.parametrize("mode", ["episode", "in_batch"])
def test_resumes_episodes_exactly(mode: str, medical_root: Path, tmp_path: Path) -> None:
    variant = Variant("D24FAD", "resnet18")
    assert_resumes(lambda: variant.build(support_mode=mode), lambda: medical(medical_root), tmp_path)
