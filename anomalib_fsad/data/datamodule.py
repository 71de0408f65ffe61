# SPDX-License-Identifier: Apache-2.0
"""MedicalFewShot: one datamodule for episodic, few-shot and one-class experiments on medical images."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import pandas as pd
import torch
from anomalib import TaskType
from anomalib.data import AnomalibDataModule
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import Transform

from anomalib_fsad.data import record, report, splits
from anomalib_fsad.data.cache import GIB, CacheMode, ImageStore, OnError
from anomalib_fsad.data.dataset import FewShotDataset, model_resize
from anomalib_fsad.data.episodes import EpisodeDraw, EpisodeSampler, FixedDraw
from anomalib_fsad.data.plan import Plan, make_plan
from anomalib_fsad.data.readers.discover import read_root, read_sets
from anomalib_fsad.data.splits import MissingMasks, Protocol
from anomalib_fsad.data.synthetic import with_synthetic_anomalies
from anomalib_fsad.images.decoding import parse_intensity
from anomalib_fsad.short_errors import ShortErrors

logger = logging.getLogger(__name__)

Validation = Literal["held_out", "same_as_test"]


class MedicalFewShot(ShortErrors, AnomalibDataModule):
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
        few_shot_source: folder of normal images to take the K from instead; none of them may be a test image.
        val: ``held_out``, or ``same_as_test``, which leaks test labels into the threshold, as many papers do.
        val_images: at most this many validation images of each category, synthetic anomalies not counted.
        missing_masks: where only some abnormal images of a category have a mask: ``raise`` names the others, ``skip``
            leaves them out, ``classification`` scores images only. Without any mask, images are scored only.
        same_category_batches: training batches of one category and without supports, for a model that takes the other
            images of a batch as supports.
        intensity: how 16-bit, float and DICOM values become [0, 1]: ``auto``, ``minmax``, ``percentile`` or
            ``window(center,width)``.
        on_error: what an unreadable image does: ``raise``, or ``skip``, which counts and lists them. One that becomes
            unreadable while it is trained on is named, and another takes its place.
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
    seed: int

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
        missing_masks: MissingMasks = "raise",
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
            ("missing_masks", missing_masks, get_args(MissingMasks)),
            ("on_error", on_error, get_args(OnError)),
            ("cache", cache, get_args(CacheMode)),
        ):
            if value not in known:
                msg = f"{option}={value!r} is none of {list(known)}."
                raise ValueError(msg)
        for option, number, least in (
            ("k_shot", k_shot, 1),
            ("val_images", val_images, 2),
            ("support_seed", support_seed, 0),
            ("seed", seed, 0),
            ("cache_gib", cache_gib, 0),
            ("train_batch_size", train_batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
        ):
            if number < least:
                msg = f"{option}={number} is too small: at least {least}."
                raise ValueError(msg)
        self.intensity = intensity
        parse_intensity(intensity)
        self.root = Path(root)
        self.category = target or ""
        self.target = target
        self.reader = reader
        self.reader_args = dict(reader_args or {})
        self.sets = {name: dict(given or {}) for name, given in (sets or {}).items()}
        sources = [source_categories] if isinstance(source_categories, str) else source_categories
        self.source_categories = None if sources is None else list(sources)
        self.protocol = protocol
        self.k_shot = k_shot
        self.support_seed = support_seed
        self.few_shot_source = None if few_shot_source is None else Path(few_shot_source)
        self.val = val
        self.val_images = val_images
        self.missing_masks = missing_masks
        self.same_category_batches = same_category_batches
        self.on_error = on_error
        self.store = ImageStore(cache, int(cache_gib * GIB), cache_dir, intensity)
        self._table: pd.DataFrame | None = None
        self._record: dict[str, Any] = {}
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

    def teardown(self, stage: str) -> None:
        """Leave ``metrics.json`` beside the pictures of a test."""
        if stage == "test":
            self._write_metrics()
        super().teardown(stage)

    def support_dataloader(self) -> DataLoader:
        """One batch: the K support images of the target, the same for every model and in every stage.

        Each is of the model's input size, in [0, 1] and not normalised, and shown by no training augmentation. A model
        compares queries with them, or makes a threshold for the target of them; none of them is validated or tested on.
        """
        return DataLoader(self.support_data, batch_size=len(self.support_data), collate_fn=self.support_data.collate_fn)

    def train_dataloader(self) -> DataLoader:
        """Training queries, with supports in ``episodic``; the order and the draws follow the seed and the epoch."""
        sampler = EpisodeSampler(
            self.train_data,
            self.train_data.categories,
            self.train_batch_size,
            same_category=self._of_one_category,
            seed=self.seed,
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

    @property
    def _of_one_category(self) -> bool:
        """Whether batches must be kept to one category; outside ``episodic`` there is only one."""
        return self.same_category_batches and self.protocol == "episodic"

    def _setup(self, _stage: str | None = None) -> None:
        table = self._read_table()
        self.category = target = splits.choose_target(table, self.target)
        episodic = self.protocol == "episodic"
        sources = splits.choose_sources(table, target, self.source_categories) if episodic else []
        plan = make_plan(
            self._readable(table[table["category"].isin([target, *sources])]),
            target,
            sources,
            protocol=self.protocol,
            k_shot=self.k_shot,
            support_seed=self.support_seed,
            few_shot_source=self.few_shot_source,
            val_images=self.val_images,
            seed=self.seed,
            batch_size=self.train_batch_size if self._of_one_category else None,
            missing_masks=self.missing_masks,
        )
        for note in plan.notes:
            logger.warning("%s", note)
        self._make_datasets(plan, self._validation(plan))
        if episodic:
            self._draw_episodes(plan)
        self._report(plan)

    def _create_test_split(self) -> None:
        """The splits are made in :meth:`_setup`."""

    def _create_val_split(self) -> None:
        """The splits are made in :meth:`_setup`."""

    def _update_augmentations(self) -> None:
        super()._update_augmentations()
        self.support_data.augmentations = model_resize(self.test_data.augmentations)

    def _read_table(self) -> pd.DataFrame:
        if self._table is None:
            given = self.sets
            self._table = read_sets(self.root, given) if given else read_root(self.root, self.reader, self.reader_args)
        return self._table

    def _readable(self, table: pd.DataFrame) -> pd.DataFrame:
        """Leave out what cannot be read, if asked to."""
        if self.on_error == "raise":
            return table.reset_index(drop=True)
        bad = self.store.skipped(table["image_path"], table["mask_path"])
        return table[~table["image_path"].isin(bad) & ~table["mask_path"].isin(bad)].reset_index(drop=True)

    def _validation(self, plan: Plan) -> pd.DataFrame:
        """What the threshold and the checkpoint are chosen with."""
        if self.val == "same_as_test":
            logger.warning(
                "val=same_as_test: threshold, checkpoint and what else hangs on validation are chosen with the test "
                "labels of %r. Figures made this way are too good; the run's data.json says so.",
                plan.target,
            )
            return plan.test
        if not plan.synthetic:
            return plan.val
        self.store.check(plan.val["image_path"])
        self._scratch = TemporaryDirectory(prefix="anomalib_fsad_")
        return with_synthetic_anomalies(plan.val, self.store.read, Path(self._scratch.name), self.seed)

    def _make_datasets(self, plan: Plan, val: pd.DataFrame) -> None:
        task = TaskType.SEGMENTATION if splits.has_masks(plan.test) else TaskType.CLASSIFICATION
        val_task = TaskType.SEGMENTATION if splits.has_masks(val) else TaskType.CLASSIFICATION
        self.train_data = FewShotDataset(plan.train, self.store, task)
        self.train_data.replaces_unreadable = self.on_error == "skip"
        self.val_data = FewShotDataset(val, self.store, val_task)
        self.test_data = FewShotDataset(plan.test, self.store, task)
        self.support_data = FewShotDataset(plan.support, self.store)

    def _draw_episodes(self, plan: Plan) -> None:
        """Supports for training, afresh each epoch, and for validation, the same ones throughout."""
        train, val = self.train_data, self.val_data
        if not self.same_category_batches:
            train.draw = EpisodeDraw(train.paths, train.categories, self.k_shot, self.seed)
        supports = {plan.target: self.support_files}
        for category in plan.sources:
            chosen = splits.support_of(plan.train, category, self.k_shot, self.support_seed)
            supports[category] = list(chosen["image_path"])
        val.draw = FixedDraw({name: supports[name] for name in dict.fromkeys(val.categories)})

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
    def _report(self, plan: Plan) -> None:
        """Print the table of images and leave a record beside the results."""
        datasets = (self.train_data, self.val_data, self.test_data, self.support_data)
        counted = report.counts(*(data.samples for data in datasets))
        title = f"MedicalFewShot: {self.protocol}, {self.k_shot}-shot, target {plan.target}"
        report.show(report.setup_table(title, counted, plan.target), report.support_line(self.support_files))
        options = {name: getattr(self, name) for name in record.OPTIONS}
        options |= {"target": plan.target, "sources": plan.sources, "task": str(self.test_data.task.value)}
        self._record = {**options, "support": self.support_files, "images": counted}
        self._write("data.json", self._record)

    @rank_zero_only
    def _write_metrics(self) -> None:
        if self._record and self.trainer is not None:
            self._write("metrics.json", record.tested_record(self.trainer, self._record))

    def _write(self, name: str, content: dict[str, Any]) -> None:
        folder = record.results_folder(self.trainer)
        if folder is not None:
            record.write(folder / name, content)
