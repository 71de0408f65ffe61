# SPDX-License-Identifier: Apache-2.0
"""What inspect says of whole, damaged and foreign files."""

import shutil
from pathlib import Path

import pytest
import torch

from anomalib_fsad.cli import main


def test_inspect_names_every_wrong_file(toy, tmp_path, capsys):
    bundle = tmp_path / "bundle"
    shutil.copytree(toy.folder, bundle)
    (bundle / "scorer.bin").write_bytes(b"\0" * (bundle / "scorer.bin").stat().st_size)
    (bundle / "encoder.onnx").unlink()
    assert main(["inspect", str(bundle)]) == 2
    printed = capsys.readouterr()
    said = " ".join(printed.err.split())
    assert "scorer.bin' is not the file that was exported" in said
    assert "encoder.onnx' cannot be read" in said
    assert toy.digest in printed.out


@pytest.mark.parametrize("content", [b"image,score\na.png,0.5\n", b"", b"PK\x05\x06" + b"\0" * 18])
def test_inspect_says_what_it_cannot_read_in_words_of_its_own(tmp_path, content, capsys):
    (tmp_path / "table.csv").write_bytes(content)
    assert main(["inspect", str(tmp_path / "table.csv")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "is no bundle (a folder), no enrolment (.npz) and no checkpoint, but another kind of file." in said
    assert "weights_only" not in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": Path("a")}, "or holds other Python objects, which could run code"),
        (7, "holds a int, no checkpoint"),
    ],
)
def test_inspect_loads_nothing_but_tensors(tmp_path, content, message, capsys):
    torch.save(content, tmp_path / "model.ckpt")
    assert main(["inspect", str(tmp_path / "model.ckpt")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert message in said
    assert "weights_only" not in said


def test_inspect_says_that_a_checkpoint_is_damaged(tmp_path, capsys):
    path = tmp_path / "model.ckpt"
    torch.save({"a": torch.zeros(1000)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = b""
    path.write_bytes(content)
    assert main(["inspect", str(path)]) == 2
    assert "is a damaged or truncated checkpoint" in " ".join(capsys.readouterr().err.split())
