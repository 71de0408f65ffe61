# SPDX-License-Identifier: Apache-2.0
"""What is killed of the work that needs torch."""

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.faults.steps import Step, command, digests, write_pictures


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


class ShareCaches(Step):
    """Eight processes that fill the image cache and the teachers' cache in one folder at once."""

    def prepare(self, folder: Path) -> None:
        write_pictures(folder / "images", 12)

    def work(self, folder: Path) -> None:
        children = [self._fork(folder) for _ in range(8)]
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8

    def _fork(self, folder: Path) -> int:
        child = os.fork()
        if child:
            return child
        status = 1
        try:
            (folder / f"served_{served(folder)}").touch()
            status = 0
        finally:
            os._exit(status)

    def result(self, folder: Path) -> Mapping[str, str]:
        (same,) = folder.glob("served_*")  # all were served alike
        return {**digests(folder / "cache"), "served": same.name}


def served(folder: Path) -> str:
    """A digest of what both caches give for some images, most of which they have not seen."""
    import torch
    from torchvision.transforms.v2 import Resize

    from anomalib_fsad.data.cache import ImageStore
    from anomalib_fsad.models.components import Teacher
    from anomalib_fsad.models.components.teacher_cache import TeacherCache
    from anomalib_fsad.models.components.teacher_store import GIB, FolderStore

    torch.manual_seed(0)
    teacher = Teacher("resnet18", pre_trained=False)
    teacher.cache = TeacherCache(FolderStore(folder / "cache" / "teachers", GIB))
    store = ImageStore("disk", 0, folder / "cache", "auto")
    store.resize_to(Resize((32, 32), antialias=True))
    paths = [str(path) for path in sorted((folder / "images").iterdir())]
    store.fill(paths)
    digest = sha256()
    for path in paths:
        image = store.read(path)
        for maps in (image, *teacher(image[None])):
            digest.update(maps.numpy().tobytes())
    return digest.hexdigest()


class FillTeachers(Step):
    """The teachers' cache, and what it serves."""

    def prepare(self, folder: Path) -> None:
        write_pictures(folder / "images", 12)

    def work(self, folder: Path) -> None:
        (folder / "served").write_text(served(folder))

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


class Compare(Step):
    """``anomalib-fsad compare``: two runs, the phantom set drawn by the first of them, and the report."""

    def prepare(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)

    def work(self, folder: Path) -> None:
        small = "data.reader_args={image_size: 64, n_train: 6, n_test: 3}"
        command(
            *("compare", "D24FAD", "Padim", "--root", folder / "data", "--targets", "fundus", "--seeds", 0),
            *("--k_shot", 2, "--checkpoint", "last", "--out", folder / "out", "--accelerator", "cpu"),
            *("--backbone", "resnet18", "--pre_trained", "false", "--image_size", 64, "--max_epochs", 1),
            *("--set", "data.reader=phantom", small, "data.val_images=2", "data.num_workers=0"),
            "data.source_categories=[head_ct]",
        )

    def result(self, folder: Path) -> Mapping[str, str]:
        rows = {path.name: json.loads(path.read_text()) for path in (folder / "out" / "cells").glob("*.json")}
        measured = {name: json.dumps([row["image_AUROC"], row["pixel_AUROC"]]) for name, row in rows.items()}
        return {**dict.fromkeys(digests(folder), ""), **{f"of {name}": value for name, value in measured.items()}}

    def check(self, folder: Path) -> None:
        from anomalib_fsad.compare.reading import read_results

        if list((folder / "out" / "cells").glob("*.json")):
            read_results([folder / "out"])


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


HEAVY: dict[str, type[Step]] = {
    "cache": FillCache,
    "teachers": FillTeachers,
    "share": ShareCaches,
    "train": Train,
    "export": Export,
    "compare": Compare,
}
