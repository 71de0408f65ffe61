# SPDX-License-Identifier: Apache-2.0
"""What is killed: one piece of work each, what it leaves when it is let be, and what must hold right after a kill."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image


class Step(ABC):
    """A piece of work in a folder of its own.

    The processes that do it are forked from one that has imported all it needs and has started no thread.
    """

    @abstractmethod
    def prepare(self, folder: Path) -> None:
        """What it needs, made once, and copied for each time that it is done."""

    @abstractmethod
    def work(self, folder: Path) -> None:
        """Do it; the same call again goes on where a killed one ended, or begins anew."""

    @abstractmethod
    def result(self, folder: Path) -> Mapping[str, str]:
        """What it has made: names, and digests of what they hold."""

    def check(self, folder: Path) -> None:  # noqa: B027 - some leave nothing that anybody reads but they themselves
        """Raise if something is read as good that is not; called right after a kill."""


class Enroll(Step):
    """``anomalib-fsad enroll``, over an enrolment that is there already."""

    def prepare(self, folder: Path) -> None:
        write_pictures(folder / "images", 6)
        self.work(folder)

    def work(self, folder: Path) -> None:
        command("enroll", folder.parent / "bundle", folder / "images", folder / "organ" / "organ.npz")

    def result(self, folder: Path) -> Mapping[str, str]:
        return digests(folder / "organ")

    def check(self, folder: Path) -> None:
        from anomalib_fsad.deploy.enrolment import Enrolment

        assert len(Enrolment.load(folder / "organ" / "organ.npz")) == 6


class Predict(Step):
    """``anomalib-fsad predict --overwrite``, over results that are there already."""

    def prepare(self, folder: Path) -> None:
        write_pictures(folder / "normals", 4)
        write_pictures(folder / "images", 12, first=10)
        command("enroll", folder.parent / "bundle", folder / "normals", folder / "organ.npz")

    def work(self, folder: Path) -> None:
        places = (folder.parent / "bundle", folder / "organ.npz", folder / "images", folder / "out")
        command("predict", *places, "--overwrite")

    def result(self, folder: Path) -> Mapping[str, str]:
        return digests(folder / "out")

    def check(self, folder: Path) -> None:
        if (folder / "out" / "predictions.csv").exists():
            rows = (folder / "out" / "predictions.csv").read_text().splitlines()
            assert len(rows) == 13, rows
            assert json.loads((folder / "out" / "predictions.json").read_text())["complete"]
            assert len(list((folder / "out" / "heat_maps").iterdir())) == 12


LIGHT: dict[str, type[Step]] = {"enroll": Enroll, "predict": Predict}
"""Work that needs no torch."""


def command(*arguments: object) -> None:
    """A verb of the command line."""
    from anomalib_fsad.cli import main

    status = main([str(argument) for argument in arguments])
    assert status == 0, (arguments, status)


def write_pictures(folder: Path, count: int, first: int = 0) -> None:
    """Pictures of one size, each another."""
    folder.mkdir(parents=True)
    for number in range(first, first + count):
        pixels = np.random.default_rng(number).integers(0, 255, (80, 72, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")


def digests(folder: Path) -> dict[str, str]:
    """All files below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
