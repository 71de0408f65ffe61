# SPDX-License-Identifier: Apache-2.0
"""Every fenced command and Python block of the documents is tried; the README's are run, on small drawn organs."""

import os
import re
import shlex
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anomalib_fsad.cli import main
from anomalib_fsad.data.phantom import write_phantom
from anomalib_fsad.models.vmamba import load_vmamba
from tests.conftest import cli
from tests.docs.commands import PROGRAMS, try_command
from tests.docs.documents import PROJECT, all_commands, blocks, commands, documents, python_blocks
from tests.unit.deploy.pictures import grey, write_dicom

COMMANDS = all_commands()
LANGUAGES = {"bash", "python", "text", "yaml"}

SMALL_MODEL = ["--model.backbone=resnet18", "--model.pre_trained=false", "--model.image_size=64"]
SMALLER = {
    "train": [*SMALL_MODEL, "--model.max_epochs=1", "--data.num_workers=0", "--data.val_images=4"],
    "test": [*SMALL_MODEL, "--data.num_workers=0"],
    "predict": SMALL_MODEL,
    "export": SMALL_MODEL,
}
"""What is added to a verb of the README, so that it takes seconds."""

SMALLER_PYTHON = {
    "max_epochs=70": "max_epochs=1, backbone='resnet18', pre_trained=False, image_size=64",
    'target="aptos", k_shot=4': 'target="aptos", k_shot=4, num_workers=0, val_images=4',
    "Engine()": "Engine(accelerator='cpu', devices=1, logger=False, enable_progress_bar=False)",
    '"vmamba_tiny"': '"vmamba_atto"',
}
"""The same for Python blocks."""


@pytest.mark.parametrize("document", documents())
def test_no_block_escapes(document):
    for block in blocks(document):
        assert block.language in LANGUAGES | {""}, f"A block in {block.language!r}: {block.text}"
        if block.language != "bash":
            first_words = {line.split()[0] for line in block.text.splitlines() if line.split()}
            assert block.language == "python" or not first_words & PROGRAMS.keys(), f"Mark it as bash: {block.text}"
        if block.language == "bash":
            assert commands(block), f"A block without a command: {block.text}"


def test_the_table_is_of_programs_that_are_used():
    assert {command.split()[0] for _, command in COMMANDS} == PROGRAMS.keys()


@pytest.mark.parametrize("command", [command for _, command in COMMANDS], ids=[f"{d}: {c}"[:90] for d, c in COMMANDS])
def test_command_is_taken(command):
    try_command(command)


@pytest.mark.parametrize(
    "wrong",
    [
        "anomalib train --model D24FAD --data MedicalFewShot --data.target aptos --data.k_shots 4",
        "anomalib train --model D24FADD --data MedicalFewShot",
        "anomalib-fsad enrol bundle normals liver.npz",
        "python -m benchmarks.no_such_script",
        "make no-such-target",
        "pip install '.[wheights]'",
        "conda install anomalib",
    ],
)
def test_a_wrong_command_is_refused(wrong):
    with pytest.raises((AssertionError, LookupError, SystemExit)):
        try_command(wrong)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder in which the README's relative paths lead to small things of their kind."""
    root = tmp_path_factory.mktemp("reader")
    data = write_phantom(root / "drawn", 64, 16, 3).rename(root / "data")
    (data / "fundus").rename(data / "aptos")
    for name in ("normals", "normals_of_a_new_organ"):
        shutil.copytree(data / "aptos/train/good", root / name)
    for name in ("new_images", "images"):
        shutil.copytree(data / "aptos/test/good", root / name)
    write_dicom(root / "patient.dcm", grey(0, (64, 64)) * 4000)
    torch.save({"model": load_vmamba("vmamba_atto", False).state_dict()}, root / "vssmtiny_dp01_ckpt_epoch_292.pth")
    return root


def checkpoint_of(place: Path) -> Path:
    return max(place.rglob("results/**/*.ckpt"), key=os.path.getmtime)


@pytest.fixture(scope="module")
def trained(place) -> Path:
    """After the README's own training: its checkpoint under the names that documents give it."""
    with chdir(place):
        first = next(words for words in readme_verbs() if words[0] == "train")
        cli(*first, *SMALLER["train"], root=place / "results")
        for name in ("model.ckpt", "best.ckpt"):
            shutil.copy(checkpoint_of(place), place / name)
    return place


def readme_verbs() -> list[list[str]]:
    """The anomalib commands of the README that are about D24FAD, as words without the program."""
    found = [shlex.split(command) for block in blocks("README.md", "bash") for command in commands(block)]
    return [words[1:] for words in found if words[0] == "anomalib" and "D24FAD" in words]


@pytest.mark.parametrize("words", [words for words in readme_verbs() if words[0] != "train"], ids=" ".join)
def test_the_readme_runs(trained, tmp_path, words):
    with chdir(trained):
        cli(*words, *SMALLER[words[0]], root=tmp_path)
    suffixes = {path.suffix for path in tmp_path.rglob("*")}
    assert suffixes & ({".xml"} if words[0] == "export" else {".png"}), f"{words} made {suffixes}"


@pytest.fixture(scope="module")
def deployed(trained) -> Path:
    """After the shell commands of the deployment's page, in their order."""
    shell = [command for block in blocks("anomalib_fsad/deploy/README.md", "bash") for command in commands(block)]
    with chdir(trained):
        for command in shell:
            program, *arguments = shlex.split(re.sub(r"results/\S*\.ckpt", "model.ckpt", command))
            if program == "anomalib-fsad" and arguments[0] != "convert":
                assert main(arguments) == 0, command
    return trained


def test_the_deployment_runs(deployed):
    assert (deployed / "results/predictions.csv").read_text().count(".png") == 3
    assert len(list((deployed / "results/heat_maps").rglob("*.png"))) == 3


def write_inbox(images: Path, folder: Path) -> Path:
    """Images of one organ in the kinds of file that a hospital has, one of them broken."""
    (folder / "scanner").mkdir(parents=True)
    for number, path in enumerate(sorted(images.glob("*.png"))):
        grey_values = np.asarray(Image.open(path).convert("L"))
        shutil.copy(path, folder / path.name)
        Image.fromarray(grey_values.astype(np.uint16) * 257).save(folder / f"deep{number}.tif")
        write_dicom(folder / f"scanner/{number}.dcm", grey_values.astype(np.uint16) * 16)
    (folder / "cut.png").write_bytes(path.read_bytes()[:100])
    return folder


def test_the_way_from_normals_to_a_report_runs(deployed, tmp_path):
    """The commands of ``docs/clinic.md``, in their order, on mixed files of drawn organs."""
    for name in ("normals", "more_normals"):
        shutil.copytree(deployed / "normals", tmp_path / name)
    for place, path in enumerate(sorted((tmp_path / "normals").iterdir())):
        (path if place % 2 else tmp_path / "more_normals" / path.name).unlink()
    write_phantom(tmp_path / "drawn", 64, 20, 2).rename(tmp_path / "DATA")
    write_inbox(deployed / "images", tmp_path / "inbox")
    shutil.copy(deployed / "best.ckpt", tmp_path / "best.ckpt")
    shutil.copytree(deployed / "bundle", tmp_path / "bundle")
    shell = [command for block in blocks("docs/clinic.md", "bash") for command in commands(block)]
    broken, ran = {"inbox/": 1}, []
    with chdir(tmp_path):
        for command in shell:
            program, verb, *rest = shlex.split(command)
            if program == "anomalib-fsad" and verb != "export":  # which the deployment's page has done
                assert main([verb, *rest]) == (broken.get(rest[2], 0) if verb == "predict" else 0), command
            elif "D24FAD" in rest:  # what the built-ins report: tests/unit/report
                whole = [word.replace("inbox/", "normals/") for word in rest]  # anomalib reads 8 bits alone
                cli(verb, *whole, *SMALLER[verb], root=tmp_path / "runs")
            ran.append(verb)
    assert ran.count("enroll") == 3
    assert "cut.png" in (tmp_path / "readings/report.html").read_text()
    assert len(list((tmp_path / "readings/heat_maps").rglob("*.png"))) == 9
    assert (tmp_path / "xray/report.html").exists()
    assert len(list((tmp_path / "runs").rglob("report.html"))) == 1


@pytest.mark.parametrize("block", python_blocks(), ids=lambda block: block.document)
def test_python_block_runs(deployed, block):
    text = block.text
    for full, small in SMALLER_PYTHON.items():
        text = text.replace(full, small)
    with chdir(deployed):
        exec(compile(text, str(PROJECT / block.document), "exec"), {"images": torch.zeros(1, 3, 64, 64)})
