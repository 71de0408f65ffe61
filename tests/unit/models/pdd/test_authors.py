# SPDX-License-Identifier: Apache-2.0
"""The authors' checkpoints, in the small: the same names around a smaller network."""

import json
from pathlib import Path

import pytest
import torch

from anomalib_fsad import PDD
from anomalib_fsad.models.pdd import from_authors
from tests.parity.golden import golden_state
from tests.parity.pdd import authors_name, check
from tests.unit.models.pdd.conftest import TINY


@pytest.fixture(scope="module")
def decoder():
    """Fusion, priors and shared students under the authors' names."""
    state = PDD(**TINY).model.state_dict()
    return golden_state({authors_name(name): v.shape for name, v in state.items() if not name.startswith("teachers.")})


def test_the_authors_names(decoder):
    parts = {name.split(".")[0] for name in decoder}
    assert parts == {"layer1", "layer2", "layer3", "mlp", "up_dim_v_r1", "up_dim_v_r2", "up_dim_v_r3", "up_dim_v_r4"}
    adapter = {name.split(".")[1] for name in decoder if name.startswith("up_dim_v_r1.")}
    assert adapter == {"conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "residual_proj"}
    assert {".".join(name.split(".")[1:3]) for name in decoder if name.startswith("mlp.")} == {
        "shared_transform.0",
        "shared_transform.1",
        "branch1.weight",
        "branch2.weight",
    }


@pytest.mark.parametrize("share", [True, False])
def test_every_tensor_arrives(decoder, share, tmp_path):
    torch.save({"decoder": decoder}, tmp_path / "pdd.pth")
    model = from_authors(tmp_path / "pdd.pth", **TINY, share_students=share)
    state = model.model.state_dict()
    for name, value in state.items():
        if not name.startswith("teachers."):
            assert torch.equal(value, decoder[authors_name(name.removeprefix("plain_"))]), name


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_other_weights_are_refused(decoder, change):
    state = dict(decoder)
    if change == "missing":
        del state["mlp.branch2.weight"]
    else:
        state["mlp.branch3.weight"] = torch.ones(1)
    with pytest.raises(ValueError, match=r"second_backbone='vmamba_atto'.*mpa\.branch"):
        from_authors(state, **TINY)


@pytest.mark.slow
def test_figures_of_the_authors_code_are_met():
    """Both teachers in full: wide_resnet50_2 and VMamba-Tiny."""
    figures = Path(__file__).parents[3] / "parity/figures/pdd.json"
    for case in json.loads(figures.read_text()):
        report = check(case)
        assert report.passed, "\n".join(report.lines())
