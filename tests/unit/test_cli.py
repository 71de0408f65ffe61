# SPDX-License-Identifier: Apache-2.0
"""The command itself: quick to answer, and an error is a line."""

import subprocess
import sys
from pathlib import Path

from anomalib_fsad.cli import VERBS, main
from anomalib_fsad.deploy import FewShotInferencer
from tests.unit.deploy.pictures import write_normals
from tests.unit.deploy.toy_bundle import write_toy_bundle


def test_errors_are_one_line(tmp_path, capsys):
    bundle, images, broken = (str(tmp_path / name) for name in ("bundle", "images", "broken.pth"))
    organ = tmp_path / "organ.npz"
    write_toy_bundle(Path(bundle))
    FewShotInferencer(bundle).enroll(write_normals(Path(images))).save(organ)
    Path(broken).write_bytes(b"no tensors")
    for command, message in (
        (["predict", bundle, str(organ), images, images + "/out"], "lie in one another"),
        (["predict", bundle, str(organ), str(tmp_path / "none"), str(tmp_path / "out")], "none' does not exist"),
        (["predict", bundle, str(tmp_path / "no.npz"), images, str(tmp_path / "out")], "cannot be read"),
        (["predict", bundle, str(organ), images, str(tmp_path / "out"), "--workers=0"], "--workers 0"),
        (["enroll", images, images, str(tmp_path / "o.npz")], "is no bundle"),
        (["enroll", bundle, str(tmp_path / "none"), str(tmp_path / "o.npz")], "none' does not exist"),
        (["enroll", bundle, images, str(tmp_path / "o.npz"), "--k-shot=99"], "holds 5 images, but k_shot=99"),
        (["enroll", bundle, images, str(tmp_path / "o.npz"), f"--digest={'0' * 64}"], "is another bundle"),
        (["convert", "PatchCore", "a.pth", "b.ckpt"], "no model 'PatchCore'"),
        (["convert", "D24FAD", "a.pth", "b.ckpt"], "'a.pth' does not exist"),
        (["convert", "D24FAD", "a.pth", "b.pth"], "must end in .ckpt"),
        (["convert", "D24FAD", "a.pth", "b.ckpt", "k_shot"], "write NAME=VALUE"),
        (["convert", "D24FAD", broken, str(tmp_path / "b.ckpt")], "could not be read as plain tensors"),
        (["convert", "D24FAD", broken, str(tmp_path / "b.ckpt"), "shots=4"], "D24FAD has no argument shots"),
        (["enroll", bundle, images, str(tmp_path / "liver")], "is saved as .npz"),
        (["inspect", str(tmp_path / "none")], "does not exist"),
    ):
        assert main(command) == 2
        printed = capsys.readouterr().err
        assert message in printed
        assert len(printed.splitlines()) == 1


HELP = """
import sys
from anomalib_fsad.cli import main
import anomalib_fsad.deploy
try:
    main(sys.argv[1:])
except SystemExit:
    heavy = ["torch", "anomalib", "pandas", "matplotlib", "numpy", "PIL", "openvino", "onnxruntime"]
    print([name for name in heavy if name in sys.modules])
"""


def test_help_costs_nothing():
    """Neither it nor the deployment's package loads anything large."""
    for arguments in ([], ["predict"], ["enroll"]):
        command = [sys.executable, "-c", HELP, *arguments, "--help"]
        said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]).stdout
        assert said.splitlines()[-1] == "[]"
        assert all(verb in said for verb in (VERBS if not arguments else arguments))


def test_ctrl_c_is_one_line_and_130(tmp_path, capsys, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("anomalib_fsad.commands.inspect.run", interrupted)
    assert main(["inspect", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "anomalib-fsad inspect: interrupted\n"
