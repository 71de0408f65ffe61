# SPDX-License-Identifier: Apache-2.0
"""MedicalFewShot: one datamodule for episodic, few-shot and one-class experiments on medical images."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import pandas as pd
import torch
from anomalib import TaskType
from anomalib.data import AnomalibDataModule
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import Transform

from anomalib_fsad.data import report, splits
from anomalib_fsad.data.cache import GIB, CacheMode, ImageStore, default_cache_folder
from anomalib_fsad.data.dataset import FewShotDataset, model_resize
from anomalib_fsad.data.decoding import parse_intensity
from anomalib_fsad.data.episodes import EpisodeDraw, EpisodeSampler, FixedDraw
from anomalib_fsad.data.readers.discover import read_root, read_sets
from anomalib_fsad.data.splits import Protocol
from anomalib_fsad.data.synthetic import with_synthetic_anomalies

logger = logging.getLogger(__name__)

Validation = Literal["held_out", "same_as_test"]
OnError = Literal["raise", "skip"]

HELD_OUT_SHARE = 0.2
"""Of the target's normal training images in ``one_class``."""


class MedicalFewShot(AnomalibDataModule):
    """Medical images under one of three protocols.

    - ``episodic``: train on the normal images of all *other* categories, each with K normal images of its own category
      as support; test on the target, with K of its normal images as support.
    - ``few_shot``: train on exactly those K images of the target.
    - ``one_class``: train on all normal training images of the target.

    Test labels reach neither training nor the threshold. Validation is held out: for ``episodic`` from the sources'
    test images, otherwise from the target's normal training images (those beyond the K, for ``few_shot``), to which
    copies with anomalib's synthetic anomalies are added.

    Args:
        root: folder that holds one set or several; see ``reader``.
        target: the category to test on; needed unless there is only one.
        reader: ``auto`` reads each sub-folder of ``root`` as the public set whose layout it shows, or one of
            ``folder``, ``phantom`` and the names in :mod:`anomalib_fsad.data.readers` for ``root`` as a whole.
        reader_args: options of the named reader.
        sets: sets that lie elsewhere or need options: ``{category: {root: ..., reader: ..., <option>: ...}}``; then
            nothing else is read.
        source_categories: what ``episodic`` trains on; all others by default.
        protocol: ``episodic``, ``few_shot`` or ``one_class``.
        k_shot: number of support images.
        support_seed: which K normal images of the target are the support: the same for every model.
        few_shot_source: folder of normal images to take the K from instead.
        val: ``held_out``, or ``same_as_test``, which leaks test labels into the threshold, as many papers do.
        val_images: at most this many validation images of each category, synthetic anomalies not counted.
        same_category_batches: training batches of one category and without supports, for a model that takes the other
            images of a batch as supports.
        intensity: how 16-bit, float and DICOM values become [0, 1]: ``auto``, ``minmax``, ``percentile`` or
            ``window(center,width)``.
        on_error: what an unreadable image does: ``raise``, or ``skip``, which counts and lists them.
        cache: where decoded, resized training and support images are kept: ``ram``, ``disk`` or ``none``.
        cache_gib: memory for ``ram``, in GiB.
        cache_dir: folder for ``disk`` and for 8-bit copies of what the visualizer cannot open; by default
            ``~/.cache/anomalib_fsad``.
        train_batch_size: queries in a training batch.
        eval_batch_size: images in a validation or test batch.
        num_workers: loader processes.
        train_augmentations: for training queries and their supports.
        val_augmentations: for validation.
        test_augmentations: for testing.
        augmentations: where the three above are not given.
        seed: of the order of training, the episodes and the held-out images.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> small = {"image_size": 32, "n_train": 4, "n_test": 2}
        >>> data = MedicalFewShot(folder.name, "fundus", reader="phantom", reader_args=small, k_shot=2, num_workers=0)
        >>> data.setup()
        >>> batch = next(iter(data.train_dataloader()))
        >>> batch.image.shape, batch.support.shape
        (torch.Size([16, 3, 32, 32]), torch.Size([16, 2, 3, 32, 32]))
    """

    train_data: FewShotDataset
    val_data: FewShotDataset
    test_data: FewShotDataset
    support_data: FewShotDataset

    def __init__(
        self,
        root: str | Path = "./datasets/medical",
        target: str | None = None,
        reader: str = "auto",
        reader_args: dict[str, Any] | None = None,
        sets: dict[str, dict[str, Any]] | None = None,
        source_categories: list[str] | None = None,
        protocol: Protocol = "episodic",
        k_shot: int = 4,
        support_seed: int = 0,
        few_shot_source: str | Path | None = None,
        val: Validation = "held_out",
        val_images: int = 60,
        same_category_batches: bool = False,
        intensity: str = "auto",
        on_error: OnError = "raise",
        cache: CacheMode = "ram",
        cache_gib: float = 4.0,
        cache_dir: str | Path | None = None,
        train_batch_size: int = 16,
        eval_batch_size: int = 32,
        num_workers: int = 4,
        train_augmentations: Transform | None = None,
        val_augmentations: Transform | None = None,
        test_augmentations: Transform | None = None,
        augmentations: Transform | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            train_batch_size=train_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            train_augmentations=train_augmentations,
            val_augmentations=val_augmentations,
            test_augmentations=test_augmentations,
            augmentations=augmentations,
            seed=seed,
        )
        for option, value, known in (
            ("protocol", protocol, get_args(Protocol)),
            ("val", val, get_args(Validation)),
            ("on_error", on_error, get_args(OnError)),
            ("cache", cache, get_args(CacheMode)),
        ):
            if value not in known:
                msg = f"{option}={value!r} is none of {list(known)}."
                raise ValueError(msg)
        for option, number, least in (("k_shot", k_shot, 1), ("val_images", val_images, 2)):
            if number < least:
                msg = f"{option}={number} is too small: at least {least}."
                raise ValueError(msg)
        parse_intensity(intensity)
        self.root = Path(root)
        self.category = target or ""
        self.target = target
        self.reader = reader
        self.reader_args = dict(reader_args or {})
        self.sets = {name: dict(given or {}) for name, given in (sets or {}).items()}
        self.source_categories = None if source_categories is None else list(source_categories)
        self.protocol = protocol
        self.k_shot = k_shot
        self.support_seed = support_seed
        self.few_shot_source = None if few_shot_source is None else Path(few_shot_source)
        self.val = val
        self.val_images = val_images
        self.same_category_batches = same_category_batches
        self.on_error = on_error
        folder = default_cache_folder() if cache_dir is None else Path(cache_dir)
        self.store = ImageStore(cache, int(cache_gib * GIB), folder, intensity)
        self._scratch: TemporaryDirectory | None = None

    @property
    def support_files(self) -> list[str]:
        """The K images that the target is shown by; known after :meth:`setup`."""
        return self.support_data.paths

    def prepare_data(self) -> None:
        """Read the tables once in one process, so that a set made on first use is made once."""
        self._read_table()

    def setup(self, stage: str | None = None) -> None:
        """Make the splits, then read what the stage needs, so that an unreadable image stops it here."""
        super().setup(stage)
        self._prepare_images(stage)

    def support_dataloader(self) -> DataLoader:
        """One batch: the K support images of the target, the same for every model."""
        return DataLoader(self.support_data, batch_size=len(self.support_data), collate_fn=self.support_data.collate_fn)

    def train_dataloader(self) -> DataLoader:
        """Training queries, with supports in ``episodic``; the order and the draws follow the seed and the epoch."""
        sampler = EpisodeSampler(
            self.train_data,
            self.train_data.categories,
            self.train_batch_size,
            same_category=self.same_category_batches,
            seed=self.seed or 0,
        )
        return DataLoader(
            self.train_data,
            batch_size=self.train_batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=self.external_collate_fn or self.train_data.collate_fn,
        )

    def _setup(self, _stage: str | None = None) -> None:
        table = self._read_table()
        target = splits.choose_target(table, self.target)
        self.category = target
        episodic = self.protocol == "episodic"
        sources = splits.choose_sources(table, target, self.source_categories) if episodic else []
        table = self._readable(table[table["category"].isin([target, *sources])].reset_index(drop=True))
        support = self._support(table, target)
        test = table[(table["category"] == target) & (table["split"] == "test")].reset_index(drop=True)
        if test.empty:
            msg = f"target={target!r} has no test images; choose another --data.target."
            raise ValueError(msg)
        train, val = self._train_and_val(table, target, sources, support)
        if self.val == "same_as_test":
            logger.warning(
                "val=same_as_test: the threshold and the checkpoint are chosen with the test labels of %r. "
                "Figures made this way are too good; the run's data.json says so.",
                target,
            )
            val = test
        self._make_datasets(train, val, test, support)
        if episodic:
            self._draw_episodes(train, support)
        self._report(target, sources)

    def _create_test_split(self) -> None:
        """The splits are made in :meth:`_setup`."""

    def _create_val_split(self) -> None:
        """The splits are made in :meth:`_setup`."""

    def _update_augmentations(self) -> None:
        super()._update_augmentations()
        self.support_data.augmentations = model_resize(self.test_data.augmentations)

    def _read_table(self) -> pd.DataFrame:
        if self.sets:
            return read_sets(self.root, self.sets)
        return read_root(self.root, self.reader, self.reader_args)

    def _readable(self, table: pd.DataFrame) -> pd.DataFrame:
        """Leave out what cannot be read, if asked to."""
        if self.on_error == "raise":
            return table
        errors = self.store.unreadable(table["image_path"], table["mask_path"])
        if errors:
            logger.warning("on_error=skip: %d of %d images are left out:", len(errors), len(table))
        for error in errors:
            logger.warning("%s", error)
        bad = [error.path for error in errors]
        return table[~table["image_path"].isin(bad) & ~table["mask_path"].isin(bad)].reset_index(drop=True)

    def _support(self, table: pd.DataFrame, target: str) -> pd.DataFrame:
        if self.few_shot_source is not None:
            return splits.read_support_folder(self.few_shot_source, target, self.k_shot, self.support_seed)
        return splits.choose_support(table, target, self.k_shot, self.support_seed)

    def _train_and_val(
        self, table: pd.DataFrame, target: str, sources: Sequence[str], support: pd.DataFrame
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What is trained on, and what chooses the threshold and the checkpoint."""
        seed = self.seed or 0
        if self.protocol == "episodic":
            train = splits.normals(table, "train", sources)
            missing = set(sources) - set(train["category"])
            if missing:
                msg = f"source_categories: {sorted(missing)} have no normal training images; leave them out."
                raise ValueError(msg)
            splits.require_episodes(train, self.k_shot, self.train_batch_size if self.same_category_batches else None)
            tests = table[table["category"].isin(sources) & (table["split"] == "test")]
            val = splits.few_of_each(tests, self.val_images, seed)
            if val["label_index"].nunique() == len(("normal", "abnormal")):
                return train, val
            logger.warning("The sources have no labelled test images: validating on synthetic anomalies of theirs.")
            train, held = splits.hold_out(train, self.val_images, HELD_OUT_SHARE, seed)
            return train, self._synthetic(held)
        pool = splits.normals(table, "train", [target])
        beyond = pool[~pool["image_path"].isin(support["image_path"])].reset_index(drop=True)
        train = support
        if self.protocol == "one_class":
            stay, held = splits.hold_out(beyond, self.val_images, HELD_OUT_SHARE, seed)
            own = support if self.few_shot_source is None else support.iloc[:0]
            train = pd.concat([own, stay], ignore_index=True)
        else:
            _, held = splits.hold_out(beyond, self.val_images, 1.0, seed)
        if held.empty:
            logger.warning("No normal images are left to hold out: the threshold comes from the training images.")
            held = train
        return train, self._synthetic(held)

    def _synthetic(self, held: pd.DataFrame) -> pd.DataFrame:
        self.store.check(held["image_path"])
        self._scratch = TemporaryDirectory(prefix="anomalib_fsad_")
        return with_synthetic_anomalies(held, self.store.read, Path(self._scratch.name), self.seed or 0)

    def _make_datasets(self, train: pd.DataFrame, val: pd.DataFrame, test: pd.DataFrame, support: pd.DataFrame) -> None:
        task = TaskType.SEGMENTATION if splits.has_masks(test) else TaskType.CLASSIFICATION
        val_task = TaskType.SEGMENTATION if splits.has_masks(val) else TaskType.CLASSIFICATION
        self.train_data = FewShotDataset(train, self.store, task)
        self.val_data = FewShotDataset(val, self.store, val_task)
        self.test_data = FewShotDataset(test, self.store, task)
        self.support_data = FewShotDataset(support, self.store)

    def _draw_episodes(self, train: pd.DataFrame, support: pd.DataFrame) -> None:
        data, seed = self.train_data, self.seed or 0
        if not self.same_category_batches:
            data.draw = EpisodeDraw(data.paths, data.categories, self.k_shot, seed)
        supports: dict[str, list[str]] = {}
        for category in dict.fromkeys(self.val_data.categories):
            own = support if category == self.category else None
            chosen = splits.choose_support(train, category, self.k_shot, self.support_seed) if own is None else own
            supports[category] = list(chosen["image_path"])
        self.val_data.draw = FixedDraw(self.val_data.categories, supports)

    def _prepare_images(self, stage: str | None) -> None:
        """Check what will be evaluated and cache what will be trained on."""
        self.store.check(self.support_data.paths)
        self.store.check(self.test_data.paths, self.test_data.samples["mask_path"])
        if stage != "test":
            self.store.check(self.val_data.paths, self.val_data.samples["mask_path"])
        if stage in {None, "fit"}:
            self.store.resize_to(model_resize(self.train_data.augmentations))
            draw = self.val_data.draw
            fixed = draw.supports.values() if isinstance(draw, FixedDraw) else []
            self.store.fill([*self.train_data.paths, *(path for paths in fixed for path in paths)])

    @rank_zero_only
    def _report(self, target: str, sources: Sequence[str]) -> None:
        """Print the table of images and leave a record beside the results."""
        counted = report.counts(
            self.train_data.samples, self.val_data.samples, self.test_data.samples, self.support_data.samples
        )
        console = Console(stderr=True)
        title = f"MedicalFewShot: {self.protocol}, {self.k_shot}-shot, target {target}"
        console.print(report.setup_table(title, counted, target))
        for path in self.support_files:
            logger.info("support image: %s", path)
        results = getattr(self.trainer, "default_root_dir", None)
        if results is None:
            return
        options: Mapping[str, Any] = {
            "protocol": self.protocol,
            "target": target,
            "sources": list(sources),
            "k_shot": self.k_shot,
            "support_seed": self.support_seed,
            "val": self.val,
            "seed": self.seed,
        }
        Path(results).mkdir(parents=True, exist_ok=True)
        content = report.record(dict(options), counted, self.support_files)
        (Path(results) / "data.json").write_text(json.dumps(content, indent=2) + os.linesep)
