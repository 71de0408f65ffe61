# SPDX-License-Identifier: Apache-2.0
"""The import of the authors' checkpoints, and that it computes what their code computes."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from anomalib_fsad import SCRD4AD
from anomalib_fsad.models.components.checkpoint import convert
from anomalib_fsad.models.scrd4ad import from_authors
from tests.parity.golden import golden_state
from tests.parity.scrd4ad import authors_shapes, check

FIGURES = Path(__file__).parents[3] / "parity" / "figures"


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return golden_state(authors_shapes("resnet18"))


@pytest.mark.parametrize(
    ("name", "figures"), [("scrd4ad", 50), pytest.param("scrd4ad_wide", 46, marks=pytest.mark.slow)]
)
def test_figures_of_the_authors_code_are_met(name: str, figures: int) -> None:
    (case,) = json.loads((FIGURES / f"{name}.json").read_text())
    report = check(case)
    assert len(report.rows) > figures
    assert report.passed, "\n".join(report.lines())


def test_file_and_mapping_give_the_same_model(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "scrd4ad.pth")
    torch.save({"state_dict": state}, tmp_path / "wrapped.pth")
    models = [
        from_authors(source, scale_weighting="none", image_size=64)
        for source in (state, tmp_path / "scrd4ad.pth", str(tmp_path / "wrapped.pth"))
    ]
    for model in models:
        assert model.hparams["backbone"] == "resnet18"
        assert torch.equal(model.model.scale_head.weight, state["mlp.weight"])
        assert torch.equal(model.model.bottleneck.conv1.weight, state["bn.conv1.weight"])
        assert not hasattr(model.model.bottleneck, "conv4")


def test_whole_classifier_encoders_are_welcome(state: dict[str, Tensor]) -> None:
    more = {"encoder.fc.weight": torch.zeros(1000, 512), "encoder.layer4.0.conv1.weight": torch.zeros(512, 256, 3, 3)}
    assert from_authors({**state, **more}, image_size=64).hparams["backbone"] == "resnet18"


def test_a_whole_pickled_module_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "module.pth")
    with pytest.raises(ValueError, match=r"state_dict\(\)"):
        from_authors(tmp_path / "module.pth")


def test_other_weights_are_refused(state: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"'encoder\.'"):
        from_authors({"conv1.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="resnet34"):
        from_authors(state, backbone="resnet34", image_size=64)
    with pytest.raises(ValueError, match="scale_head"):
        from_authors({k: v for k, v in state.items() if not k.startswith("mlp")}, image_size=64)


def test_an_import_becomes_a_checkpoint(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "authors.pth")
    path = convert("SCRD4AD", tmp_path / "authors.pth", tmp_path / "own.ckpt", scale_weighting="none", image_size=64)
    model = SCRD4AD.load_from_checkpoint(path, map_location="cpu")
    assert not model.model.weighted
    assert torch.equal(model.model.scale_head.weight, state["mlp.weight"])
    assert torch.equal(model.model.decoder.layer1[0].conv1.weight, state["decoder.layer1.0.conv1.weight"])


def test_names_from_several_gpus_are_understood(state: dict[str, Tensor]) -> None:
    model = from_authors({f"module.{name}": value for name, value in state.items()}, image_size=64)
    assert torch.equal(model.model.scale_head.weight, state["mlp.weight"])
