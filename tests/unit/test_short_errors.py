# SPDX-License-Identifier: Apache-2.0
"""A mistake in an option ends in one sentence on anomalib's command line, and anything else as before."""

import sys
from pathlib import Path

import pytest
from rich import traceback

from tests.conftest import cli

TINY = ["--model=D24FAD", "--model.backbone=resnet18", "--model.pre_trained=false"]


@pytest.fixture(autouse=True)
def command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``anomalib`` starts: with rich's hook."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    traceback.install()


def shown(capsys: pytest.CaptureFixture[str], run: object) -> str:
    """What a user reads when ``run`` fails."""
    assert callable(run)
    try:
        run()
    except Exception as error:
        capsys.readouterr()
        sys.excepthook(type(error), error, error.__traceback__)
        return capsys.readouterr().err
    pytest.fail("nothing failed")


def test_a_mistake_in_an_option_of_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [*TINY, "--model.image_size=100", f"--data={tmp_path}"]
    words = shown(capsys, lambda: cli("predict", *options, root=tmp_path))
    assert words == "error: image_size=100 must be one or two multiples of 32, such as 256 or [256, 320].\n"


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [*TINY, "--data=MedicalFewShot", f"--data.root={tmp_path / 'nowhere'}", "--data.target=brain"]
    words = shown(capsys, lambda: cli("fit", *options, root=tmp_path))
    assert words.startswith("error: ")
    assert "nowhere" in words
    assert words.count("\n") == 1


def test_a_fault_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    import anomalib_fsad

    anomalib_fsad.D24FAD(backbone="resnet18", pre_trained=False)

    def fail() -> None:
        msg = "a fault of other code"
        raise ValueError(msg)

    assert "Traceback" in shown(capsys, fail)
