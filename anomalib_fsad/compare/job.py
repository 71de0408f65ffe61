# SPDX-License-Identifier: Apache-2.0
"""One cell as a job of anomalib's pipelines: build, fit, test, measure, write."""

import contextlib
import gc
import logging
import time
import traceback
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from anomalib.callbacks import ModelCheckpoint
from anomalib.data import AnomalibDataModule, get_datamodule
from anomalib.engine import Engine
from anomalib.metrics import AUROC, Evaluator
from anomalib.models import AnomalibModule
from anomalib.pipelines.components import Job, JobGenerator
from lightning.pytorch import Callback, seed_everything
from torch.utils.data import DataLoader

from anomalib_fsad.compare.building import Teachers, build_model
from anomalib_fsad.compare.cells import EPISODIC, LAST, NORMALS, Cell
from anomalib_fsad.compare.machine import environment
from anomalib_fsad.compare.metrics import at_common_threshold, image_metrics, pixel_metrics
from anomalib_fsad.compare.mistakes import mistakes
from anomalib_fsad.compare.normals import threshold_of
from anomalib_fsad.compare.recorder import Recorder, peak_memory_mib, reset_peak_memory
from anomalib_fsad.compare.store import Store
from anomalib_fsad.compare.trainings import Trainings

MONITOR = "val_image_AUROC"


class CellJob(Job):
    """Runs a cell through anomalib's engine and writes its result at once.

    Args:
        cell: what to run.
        store: where the result goes.
        accelerator: ``cpu`` or ``cuda``.
        teachers: the weights that all models share.
    """

    name = "cells"

    def __init__(self, cell: Cell, store: Store, accelerator: str, teachers: Teachers) -> None:
        self.cell = cell
        self.store = store
        self.accelerator = accelerator
        self.teachers = teachers
        self.trainings = Trainings(store.folder / "trainings")

    def run(self, task_id: int | None = None) -> dict[str, Any]:
        """Run the cell; what it prints goes to its log.

        Args:
            task_id: the GPU, where anomalib runs several jobs at once.
        """
        log = self.store.log_file(self.cell)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as stream, contextlib.redirect_stderr(stream), contextlib.redirect_stdout(stream):
            try:
                return self._run(task_id)
            except Exception:
                traceback.print_exc(file=stream)
                raise

    @staticmethod
    def collect(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Every cell has written its own result."""
        return results

    @staticmethod
    def save(results: list[dict[str, Any]]) -> None:
        """Every cell has written its own result."""

    def _run(self, task_id: int | None) -> dict[str, Any]:
        for name in ("lightning.pytorch", "lightning.fabric", "lightning_fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        gc.collect()
        device = torch.device("cuda", task_id or 0) if self.accelerator == "cuda" else torch.device("cpu")
        reset_peak_memory(device)
        seed_everything(self.cell.seed, workers=True, verbose=False)
        evaluator = Evaluator(val_metrics=[AUROC(fields=["pred_score", "gt_label"], prefix="val_image_")])
        model, weights = self._build(evaluator=evaluator, visualizer=False)
        datamodule = get_datamodule(self.cell.data_config)
        recorder = Recorder()
        with TemporaryDirectory() as folder:
            # Weights alone: the optimizer's state is three times as large and of no use here.
            kept: dict[str, Any] = {} if self._last else {"monitor": MONITOR, "mode": "max"}
            keep = ModelCheckpoint(folder, "{epoch}", save_weights_only=True, save_top_k=0 if self._last else 1, **kept)
            known = self._trained(model, folder, task_id, keep)
            # One epoch leaves no choice; then the model at hand is the checkpoint.
            chosen = keep.best_model_path if known["epochs"] > 1 else None
            engine = self._engine(folder, task_id, [recorder])
            engine.test(model, datamodule=datamodule, ckpt_path=chosen or None)
            best = int(Path(chosen).stem.partition("=")[2]) + 1 if chosen else known["epochs"]
            found = self._threshold_from_normals(model, datamodule, folder, task_id)
        return self._write(
            model, datamodule, recorder, device, known | {"best_epoch": best, "weights": weights} | found
        )

    @property
    def _last(self) -> bool:
        """Whether the weights that training ends with are tested, so that no epoch is validated."""
        return self.cell.training.get("checkpoint") == LAST

    def _trained(
        self, model: AnomalibModule, folder: str, task_id: int | None, keep: ModelCheckpoint
    ) -> dict[str, Any]:
        """Train a model, or give it the weights of a training that was alike, and tell what that took."""
        shared = self._last and self.cell.protocol == EPISODIC
        known = self.trainings.load(self.cell, model) if shared else None
        if known is not None:
            return known
        config = deepcopy(self.cell.data_config)
        shots = self.cell.training.get("train_k_shot")
        if shots is not None:
            # What validation sees is to hang on the training alone, not on the draw that is shown first.
            config["init_args"] |= {"k_shot": shots, "support_seed": config["init_args"]["seed"]}
        engine = self._engine(folder, task_id, [keep])
        start = time.perf_counter()
        engine.fit(model, datamodule=get_datamodule(config))
        known = {"fit_seconds": time.perf_counter() - start, "epochs": engine.trainer.current_epoch}
        if shared:
            self.trainings.keep(self.cell, model, known)
        return known

    def _build(self, **components: Any) -> tuple[AnomalibModule, str]:
        size = self.cell.training["image_size"]
        return build_model(self.cell.model_config, size, self.teachers, self.cell.seed, **components)

    def _engine(self, folder: str, task_id: int | None, callbacks: list[Callback]) -> Engine:
        return Engine(
            accelerator="gpu" if self.accelerator == "cuda" else self.accelerator,
            devices=[task_id] if task_id is not None and self.accelerator == "cuda" else 1,
            default_root_dir=folder,
            max_epochs=self.cell.training["max_epochs"],
            max_steps=self.cell.training.get("max_steps", -1),
            limit_val_batches=0 if self._last else None,
            callbacks=callbacks,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    def _threshold_from_normals(
        self, model: AnomalibModule, datamodule: AnomalibDataModule, folder: str, task_id: int | None
    ) -> dict[str, float]:
        """The rule that is the same for every model, if the cell asks for it."""
        if self.cell.training.get("threshold") != NORMALS:
            return {}

        def fit(loader: DataLoader) -> AnomalibModule:
            seed_everything(self.cell.seed, workers=True, verbose=False)
            other, _ = self._build(evaluator=False, visualizer=False)
            self._engine(folder, task_id, []).fit(other, train_dataloaders=loader)
            return other

        return {"threshold_from_normals": threshold_of(model, datamodule, self.cell.protocol, fit)}

    def _write(
        self,
        model: AnomalibModule,
        datamodule: AnomalibDataModule,
        recorder: Recorder,
        device: torch.device,
        known: dict[str, Any],
    ) -> dict[str, Any]:
        threshold = float(getattr(model.post_processor, "image_threshold", float("nan")))
        pixels = recorder.maps_and_masks
        row = {
            **self.cell.key,
            **image_metrics(recorder.scores, recorder.labels, threshold),
            **(pixel_metrics(*pixels) if pixels else {}),
            "image_threshold": threshold,
            "ms_per_image": recorder.ms_per_image,
            **peak_memory_mib(device),
            **known,
            **at_common_threshold(recorder.scores, recorder.labels, known.get("threshold_from_normals")),
            "image_size": self.cell.training["image_size"] or "the model's",
            "train_images": len(datamodule.train_data),
            "test_images": len(recorder.paths),
            **environment(device),
        }
        maps = recorder.small_maps
        worst = None if maps is None else mistakes(recorder.paths, recorder.scores, recorder.labels, maps)
        self.store.write(self.cell, row, recorder.paths, recorder.scores, recorder.labels, worst)
        return row


class CellGenerator(JobGenerator):
    """Turns cells into jobs, for anomalib's serial and parallel runners."""

    @property
    def job_class(self) -> type[Job]:
        """What the runners collect and save by."""
        return CellJob

    def __init__(self, store: Store, accelerator: str, teachers: Teachers) -> None:
        self.store = store
        self.accelerator = accelerator
        self.teachers = teachers

    def generate_jobs(  # type: ignore[override]  # a list, so that the runner's progress bar knows its length
        self, args: dict | None = None, previous_stage_result: Any = None
    ) -> list[CellJob]:
        """One job for each of ``args["cells"]``.

        Args:
            args: ``{"cells": [...]}``.
            previous_stage_result: not needed.
        """
        del previous_stage_result
        return [CellJob(cell, self.store, self.accelerator, self.teachers) for cell in (args or {}).get("cells", [])]
