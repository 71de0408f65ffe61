# SPDX-License-Identifier: Apache-2.0
"""Every file in ``configs/`` is one that anomalib's command line accepts."""

from pathlib import Path

import pytest
import yaml
from anomalib.cli import AnomalibCLI
from anomalib.data import AnomalibDataModule

import anomalib_fsad
from anomalib_fsad.models.components.weights import offer_to_timm
from anomalib_fsad.plugin import register

CONFIGS = Path(__file__).parents[2] / "configs"


def named(folder: str) -> list:
    return [pytest.param(path, id=path.stem) for path in sorted((CONFIGS / folder).glob("*.yaml"))]


@pytest.fixture(autouse=True)
def _registered(monkeypatch, tmp_path):
    register()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("path", named("model"))
def test_model_recipe(path):
    given = yaml.safe_load(path.read_text())
    small = ["--model.init_args.pre_trained=false"]
    if "backbone" in given["model"]["init_args"]:
        small.append("--model.init_args.backbone=resnet18")
    if given["model"]["class_path"] == "PDD":
        small.append("--model.init_args.second_backbone=null")
    cli = AnomalibCLI(args=["train", "-c", str(path), "--data=MedicalFewShot", *small], run=False)
    assert type(cli.model) is getattr(anomalib_fsad, given["model"]["class_path"])


@pytest.mark.parametrize("path", named("data"))
def test_data(path):
    assert isinstance(AnomalibDataModule.from_config(path), anomalib_fsad.MedicalFewShot)


@pytest.mark.parametrize(("name", "model"), [("quickstart", "D24FAD"), ("quickstart_patchcore", "Patchcore")])
def test_quickstart(name, model):
    offer_to_timm()  # as ANOMALIB_FSAD_WEIGHTS=packages does
    cli = AnomalibCLI(args=["train", "--config", str(CONFIGS / f"{name}.yaml")], run=False)
    assert type(cli.model).__name__ == model
    assert type(cli.datamodule) is anomalib_fsad.MedicalFewShot


def test_quickstarts_compare_like_with_like():
    ours, theirs = (
        yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["data"]["init_args"]
        for name in ("quickstart", "quickstart_patchcore")
    )
    for option in ("reader", "reader_args", "target", "k_shot"):
        assert ours[option] == theirs[option]
