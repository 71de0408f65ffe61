# SPDX-License-Identifier: Apache-2.0
"""The authors' files become checkpoints that anomalib's own command line predicts with."""

import zipfile

import pytest
import torch
from anomalib.cli.cli import AnomalibCLI

from anomalib_fsad.cli import main
from anomalib_fsad.deploy.inspection import inspect_path
from anomalib_fsad.models.components.checkpoint import convert, read_state_dict
from anomalib_fsad.models.d24fad import D24FAD
from anomalib_fsad.models.pdd import PDD
from anomalib_fsad.models.scrd4ad import SCRD4AD
from tests.parity.d24fad import golden_networks
from tests.parity.golden import golden_state
from tests.parity.pdd import authors_name
from tests.parity.scrd4ad import authors_shapes


@pytest.fixture(scope="module")
def authors(tmp_path_factory):
    """A file as the authors' script leaves it, with the teacher's weights beside."""
    path = tmp_path_factory.mktemp("authors") / "authors.pth"
    torch.save(golden_networks("resnet18"), path)
    return path


def test_convert_for_load_from_checkpoint(authors, tmp_path):
    path = convert("d24fad", authors, tmp_path / "new/model.ckpt", backbone="resnet18", k_shot=2, image_size=64)
    model = D24FAD.load_from_checkpoint(path)
    networks = golden_networks("resnet18")
    assert torch.equal(model.model.student.layer3[1].conv2.weight, networks["decoder"]["layer3.1.conv2.weight"])
    assert torch.equal(model.model.l2w.projections[0].weight, networks["weight"]["proj_in1.weight"])
    assert torch.equal(
        model.model.teacher.state_dict()["network.layer4.0.conv1.weight"],
        networks["encoder"]["layer4.0.conv1.weight"],
    )
    assert model.k_shot == 2
    assert model.pre_processor.transform.transforms[0].size == [64, 64]


def test_convert_scrd4ad(tmp_path):
    state = golden_state(authors_shapes("resnet18"))
    torch.save(state, tmp_path / "authors.pth")
    model = SCRD4AD.load_from_checkpoint(
        convert("SCRD4AD", tmp_path / "authors.pth", tmp_path / "model.ckpt", image_size=64)
    )
    assert torch.equal(model.model.scale_head.weight, state["mlp.weight"])


def test_convert_pdd(tmp_path):
    options = {"backbone": "resnet18", "second_backbone": "vmamba_atto", "pre_trained": False, "image_size": 64}
    own = {k: v.shape for k, v in PDD(**options).model.state_dict().items() if not k.startswith("teachers.")}
    state = golden_state({authors_name(name): shape for name, shape in own.items()})
    torch.save({"decoder": state}, tmp_path / "authors.pth")
    path = convert("PDD", tmp_path / "authors.pth", tmp_path / "model.ckpt", **options)
    weights = PDD.load_from_checkpoint(path).model.state_dict()
    for name in own:
        assert torch.equal(weights[name], state[authors_name(name)]), name


def test_convert_for_anomalibs_predict(authors, toy_root, tmp_path):
    """The command, then ``anomalib predict --ckpt_path`` on what it wrote."""
    checkpoint = tmp_path / "model.ckpt"
    assert main(["convert", "D24FAD", str(authors), str(checkpoint), "backbone=resnet18", "image_size=64"]) == 0
    assert inspect_path(checkpoint)["model"] == "D24FAD"
    command = AnomalibCLI(
        args=[
            "predict",
            "--model=anomalib_fsad.D24FAD",
            "--model.backbone=resnet18",
            "--model.pre_trained=false",
            "--model.image_size=64",
            "--model.k_shot=3",
            f"--model.few_shot_source={toy_root / 'train/good'}",
            f"--data={toy_root / 'test/bad'}",
            f"--ckpt_path={checkpoint}",
            f"--default_root_dir={tmp_path}",
        ]
    )
    weights = command.model.model.student.state_dict()["layer1.0.conv1.weight"]
    assert torch.equal(weights.cpu(), golden_networks("resnet18")["decoder"]["layer1.0.conv1.weight"])
    assert len(command.model.model.support) == 3
    assert len(list(tmp_path.rglob("*.png"))) == 3


def test_inspect_recognises_the_authors_file(authors):
    content = inspect_path(authors)
    assert content["kind"] == "weights of another code"
    assert "convert D24FAD" in content["hint"]


def test_enroll_exchanges_the_support_of_a_checkpoint(authors, toy_root, tmp_path, capsys):
    first = convert("D24FAD", authors, tmp_path / "first.ckpt", backbone="resnet18", image_size=64)
    second = tmp_path / "second.ckpt"
    assert main(["enroll", str(first), str(toy_root / "train/good"), str(second), "--k-shot", "3"]) == 0
    model = D24FAD.load_from_checkpoint(second)
    wanted = D24FAD.load_from_checkpoint(first, few_shot_source=toy_root / "train/good", k_shot=3)
    assert torch.equal(model.model.support.images, wanted.model.support.images)
    assert model.post_processor.image_threshold == wanted.post_processor.image_threshold
    said = " ".join(capsys.readouterr().err.split())
    assert "Each of them by the others (leave-one-out), the highest score first" in said
    # More of them later: beside those that are there, and none twice.
    third = tmp_path / "third.ckpt"
    assert main(["enroll", str(second), str(toy_root / "test/good"), str(third), "--add"]) == 0
    larger = D24FAD.load_from_checkpoint(third)
    assert larger.k_shot == len(larger.model.support) == 6
    assert torch.equal(larger.model.support.images[:3], model.model.support.images)
    assert larger.post_processor.image_threshold != model.post_processor.image_threshold
    assert "image 3 of the checkpoint" in capsys.readouterr().err
    assert main(["enroll", str(third), str(toy_root / "test/good"), str(third), "--add"]) == 2
    assert "in the support already" in capsys.readouterr().err
    for arguments, words in (
        ([first, tmp_path / "nowhere", tmp_path / "x.ckpt"], "nowhere"),
        ([first, toy_root / "train/good", tmp_path / "x.npz"], "must end in .ckpt"),
        ([first, toy_root / "train/good", tmp_path / "x.ckpt", "--digest", "12"], "--digest is for bundles"),
        ([tmp_path / "none.ckpt", toy_root / "train/good", tmp_path / "x.ckpt"], "does not exist"),
    ):
        assert main(["enroll", *map(str, arguments)]) == 2
        assert words in capsys.readouterr().err.replace("\n", " ")


def test_a_compressed_archive_is_refused(tmp_path):
    plain, packed = tmp_path / "plain.pth", tmp_path / "packed.pth"
    torch.save({"a": torch.zeros(1000)}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    assert torch.equal(read_state_dict(plain)["a"], torch.zeros(1000))
    with pytest.raises(ValueError, match=r"packed\.pth' is a compressed archive.*torch\.save"):
        read_state_dict(packed)
