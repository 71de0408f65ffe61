# SPDX-License-Identifier: Apache-2.0
"""The import of the authors' checkpoints, and through it parity with their figures."""

import json
from pathlib import Path

import pytest
import torch

from anomalib_fsad.models.d24fad.authors import from_authors
from tests.parity.d24fad import check, golden_networks

FIGURES = json.loads((Path(__file__).parents[3] / "parity/figures/d24fad.json").read_text())


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=c["arch"], marks=[pytest.mark.slow] if c["arch"] != "resnet18" else []) for c in FIGURES],
)
def test_figures_of_the_authors_network(case):
    result = check(case)
    assert result.passed, "\n".join(result.lines())
    assert len(result.rows) > 40


def test_reads_their_file_and_keeps_the_teacher(tmp_path):
    networks = golden_networks("resnet18")
    file = tmp_path / "authors.pth"
    torch.save({part: {f"module.{k}": v for k, v in networks[part].items()} for part in ("decoder", "weight")}, file)
    model = from_authors(file, backbone="resnet18", pre_trained=False, k_shot=2)
    assert torch.equal(model.model.student.layer1[0].conv1.weight, networks["decoder"]["layer1.0.conv1.weight"])
    assert torch.equal(model.model.l2w.projections[2].bias, networks["weight"]["proj_in3.bias"])


def test_says_what_is_wrong(tmp_path):
    networks = golden_networks("resnet18")
    with pytest.raises(ValueError, match=r"\['weight'\] missing; it has \['decoder'\]"):
        from_authors({"decoder": networks["decoder"]}, backbone="resnet18", pre_trained=False)
    with pytest.raises(ValueError, match="not the weights of the decoder of a resnet50: pass its backbone"):
        from_authors({p: networks[p] for p in ("decoder", "weight")}, backbone="resnet50", pre_trained=False)
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth"):
        from_authors(tmp_path / "nothing.pth")
