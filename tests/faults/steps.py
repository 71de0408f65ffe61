# SPDX-License-Identifier: Apache-2.0
"""What is killed: one piece of work each, what it leaves when it is let be, and what must hold right after a kill."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

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


class FillCache(Step):
    """The image cache on disk, and what it serves."""

    def prepare(self, folder: Path) -> None:
        write_pictures(folder / "images", 40)

    def work(self, folder: Path) -> None:
        from torchvision.transforms.v2 import Resize

        from anomalib_fsad.data.cache import ImageStore

        store = ImageStore("disk", 0, folder / "cache", "auto")
        store.resize_to(Resize((32, 32), antialias=True))
        paths = [str(path) for path in sorted((folder / "images").iterdir())]
        store.fill(paths)
        served = sha256(b"".join(store.read(path).numpy().tobytes() for path in paths)).hexdigest()
        (folder / "served").write_text(served)

    def result(self, folder: Path) -> Mapping[str, str]:
        return {**digests(folder / "cache"), "served": (folder / "served").read_text()}


class Export(Step):
    """``anomalib-fsad export``."""

    def prepare(self, folder: Path) -> None:
        from anomalib_fsad.models.components.checkpoint import save_checkpoint

        save_checkpoint(tiny_model(), folder / "model.ckpt")

    def work(self, folder: Path) -> None:
        command("export", folder / "model.ckpt", folder / "bundle", "--format", "openvino")

    def result(self, folder: Path) -> Mapping[str, str]:
        from anomalib_fsad.deploy.bundle import load_bundle

        bundle = load_bundle(folder / "bundle")
        # Exporters number the parts of a graph as they come: what must agree is which files there are, each whole.
        whole = {f"whole {name}": str(len(bundle.read(name)) > 0) for name in bundle.metadata.files}
        return whole | dict.fromkeys(digests(folder / "bundle"), "")

    def check(self, folder: Path) -> None:
        from anomalib_fsad.deploy.bundle import BundleError, load_bundle

        try:
            bundle = load_bundle(folder / "bundle")
        except BundleError:
            return
        for name in bundle.metadata.files:
            bundle.read(name)


class Train(Step):
    """Training with a checkpoint each epoch, gone on with from the last one that is whole."""

    def prepare(self, folder: Path) -> None:
        for place, count, first in (("train/good", 8, 0), ("test/good", 2, 20), ("test/bad", 2, 30)):
            write_pictures(folder / "data" / place, count, first=first)

    def work(self, folder: Path) -> None:
        import torch
        from anomalib.data import Folder
        from anomalib.engine import Engine
        from lightning.pytorch.callbacks import ModelCheckpoint

        model = tiny_model()
        data = Folder(
            name="toy",
            root=folder / "data",
            normal_dir="train/good",
            normal_test_dir="test/good",
            abnormal_dir="test/bad",
            train_batch_size=2,
            num_workers=0,
            seed=0,
        )
        # Its mode means nothing here, but tells it apart from the host's own.
        kept = ModelCheckpoint(dirpath=folder / "kept", filename="{epoch}", save_top_k=-1, mode="max")
        engine = Engine(
            accelerator="cpu",
            max_epochs=4,
            callbacks=[kept],
            default_root_dir=folder / "runs",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        torch.manual_seed(0)
        engine.fit(model, datamodule=data, ckpt_path=last_whole(folder / "kept"))
        state = model.model.state_dict()
        weights = b"".join(name.encode() + value.numpy().tobytes() for name, value in sorted(state.items()))
        (folder / "weights").write_text(sha256(weights).hexdigest())

    def result(self, folder: Path) -> Mapping[str, str]:
        kept = {path.name.partition("-v")[0].removesuffix(".ckpt") for path in (folder / "kept").iterdir()}
        return {"weights": (folder / "weights").read_text(), "kept": str(sorted(kept))}


LIGHT: dict[str, type[Step]] = {"enroll": Enroll, "predict": Predict}
"""Work that needs no torch."""

STEPS: dict[str, type[Step]] = {**LIGHT, "cache": FillCache, "train": Train, "export": Export}


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


def tiny_model() -> Any:
    """A D24FAD that trains in seconds."""
    from anomalib_fsad import D24FAD

    return D24FAD(k_shot=2, backbone="resnet18", pre_trained=False, image_size=64, seed=3, visualizer=False)


def last_whole(folder: Path) -> Path | None:
    """The checkpoint of the latest epoch that can be read; a killed process may have left half of one."""
    import torch
    from anomalib.utils.serialization import anomalib_safe_globals

    found = []
    for path in folder.glob("*.ckpt"):
        try:
            with anomalib_safe_globals():
                found.append((torch.load(path, map_location="cpu", weights_only=True)["epoch"], path))
        except Exception:
            path.unlink()
    return max(found, default=(0, None))[1]
