# SPDX-License-Identifier: Apache-2.0
"""Time of a training step and of inference, all models side by side in one run.

    python -m benchmarks.speed models D24FAD PDD Stfpm --root ./datasets/medical --targets aptos --image_size 256
    python -m benchmarks.speed models ... --accuracy results/report/summary.csv --setting "one class"

On a CPU: eager, OpenVINO FP32, FP16 and INT8, and ONNX Runtime where it is installed. On a CUDA device: FP32,
channels_last, AMP, and both. With ``--accuracy`` a picture shows both.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from anomalib.data import ImageBatch, get_datamodule
from anomalib.engine import Engine
from anomalib.models import AnomalibModule
from lightning.fabric.utilities import move_data_to_device
from matplotlib.figure import Figure

from anomalib_fsad.compare.building import Teachers, build_model
from anomalib_fsad.compare.cells import Cell
from anomalib_fsad.compare.options import add_cell_options, chosen_cells
from anomalib_fsad.plugin import register
from benchmarks.speed.forms import accuracy_and_latency
from benchmarks.speed.subject import Case
from benchmarks.timing import Work, by_the_clock

OPENVINO = ("OpenVINO FP32", "OpenVINO FP16", "OpenVINO INT8")
ONNX = "ONNX Runtime"

NOTES = "Milliseconds a batch; every model saw one epoch of the same data."
ROUNDS = 10


class Form(NamedTuple):
    """In which form torch runs a model."""

    name: str
    amp: bool = False
    memory: torch.memory_format = torch.contiguous_format


CPU_FORMS = (Form("eager"),)
GPU_FORMS = (
    Form("eager"),
    Form("channels_last", memory=torch.channels_last),
    Form("AMP", amp=True),
    Form("AMP, channels_last", amp=True, memory=torch.channels_last),
)


def fitted(cell: Cell, teachers: Teachers) -> tuple[AnomalibModule, Any]:
    """A model with its memory bank, statistics or supports in place, after one epoch."""
    model, _ = build_model(cell.model_config, cell.training["image_size"], teachers, cell.seed, visualizer=False)
    datamodule = get_datamodule(cell.data_config)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    with TemporaryDirectory() as folder:
        Engine(default_root_dir=folder, devices=1, max_epochs=1, **quiet).fit(model, datamodule=datamodule)
    return model, datamodule


def training_step(model: AnomalibModule, batch: ImageBatch, *, amp: bool) -> Work | None:
    """A whole step: forward, backward, optimizer; ``None`` for a model that does not train."""
    # Outside a trainer: what a step logs goes nowhere.
    model._trainer = None
    configured = model.configure_optimizers()
    optimizer = _first_optimizer(configured)
    if optimizer is None:
        return None
    batch.image = model.pre_processor.transform(batch.image)

    def step() -> None:
        model.train()
        with torch.autocast("cuda", enabled=amp) if amp else contextlib.nullcontext():
            loss = model.training_step(batch, 0)["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def eager(model: AnomalibModule, images: torch.Tensor, *, amp: bool) -> Work:
    """From images in [0, 1] to scores and maps, pre- and post-processing included."""

    def infer() -> Any:
        model.eval()
        with torch.inference_mode(), torch.autocast("cuda", enabled=amp) if amp else contextlib.nullcontext():
            return model(images)

    return infer


def exported_forms(model: AnomalibModule, datamodule: Any, images: torch.Tensor, folder: Path) -> dict[str, Work]:
    """The same, exported by anomalib once, and compiled for this CPU: OpenVINO in three precisions, ONNX Runtime."""
    import openvino as ov

    size = (images.shape[-2], images.shape[-1])
    path = model.cpu().to_onnx(folder, model.name, size, opset_version=18, external_data=False)
    full, half = ov.convert_model(path), path.with_name(f"{model.name}_fp16.xml")
    # What to_openvino does for compression_type=fp16 and int8_ptq, without exporting again.
    ov.save_model(full, half, compress_to_fp16=True)
    eight = model._post_training_quantization_ov(ov.convert_model(path), datamodule)
    array = images.cpu().numpy()
    runs: dict[str, Work] = {}
    for form, network in zip(OPENVINO, (full, half, eight), strict=True):
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        if network is full:
            hints["INFERENCE_PRECISION_HINT"] = "f32"
        runs[form] = partial(ov.Core().compile_model(network, "CPU", hints), array)
    if find_spec("onnxruntime") is not None:
        runs[ONNX] = on_onnxruntime(path, array)
    return runs


def on_onnxruntime(path: Path, array: np.ndarray) -> Work:
    """The ONNX file as it is."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    return partial(session.run, None, {session.get_inputs()[0].name: array})


def exported(models: dict[str, tuple[AnomalibModule, Any]], images: torch.Tensor, folder: Path) -> dict[str, dict]:
    """The exported forms of every model that can be exported."""
    runs = {}
    for name, (model, datamodule) in models.items():
        try:
            runs[name] = exported_forms(model, datamodule, images, folder / name)
        except Exception as error:
            print(f"{name}: the export failed: {type(error).__name__}: {error}", file=sys.stderr)
    return runs


def measured(
    models: dict[str, tuple[AnomalibModule, Any]], batch_size: int, size: int, device: torch.device
) -> Iterator[Case]:
    """One case for each task and form."""
    clock = by_the_clock(device)
    images = torch.rand(batch_size, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    forms = GPU_FORMS if device.type == "cuda" else CPU_FORMS
    for form in forms:
        for model, _ in models.values():
            model.to(device=device, memory_format=form.memory)
        shown = images.to(memory_format=form.memory)
        works = {name: eager(model, shown, amp=form.amp) for name, (model, _) in models.items()}
        yield Case({"task": "inference", "form": form.name}, works, clock)
    if device.type == "cpu":
        with TemporaryDirectory() as folder:
            runs = exported(models, images, Path(folder))
            for name in (*OPENVINO, ONNX):
                works = {model: of[name] for model, of in runs.items() if name in of}
                if works:
                    yield Case({"task": "inference", "form": name}, works, clock)
    # Training last: it changes weights and statistics.
    for form in forms:
        steps: dict[str, Work] = {}
        for name, (model, datamodule) in models.items():
            model.to(device=device, memory_format=form.memory)
            step = training_step(model, training_batch(datamodule, batch_size, device, form.memory), amp=form.amp)
            if step is not None:
                steps[name] = step
        yield Case({"task": "training step", "form": form.name}, steps, clock)


def training_batch(datamodule: Any, batch_size: int, device: torch.device, memory: torch.memory_format) -> ImageBatch:
    """A batch from the training set, supports included where the protocol has them."""
    datamodule.train_batch_size = batch_size
    batch = move_data_to_device(next(iter(datamodule.train_dataloader())), device)
    batch.image = batch.image.to(memory_format=memory)
    return batch


def _first_optimizer(configured: Any) -> torch.optim.Optimizer | None:
    """Of whatever ``configure_optimizers`` returned."""
    if isinstance(configured, dict):
        configured = configured["optimizer"]
    while isinstance(configured, Sequence) and configured:
        configured = configured[0]
    return configured if isinstance(configured, torch.optim.Optimizer) else None


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Fit every model, and measure them."""
    if options.image_size is None:
        sys.exit("--image_size is needed: it is what makes the models comparable.")
    register()
    cells = {cell.model: cell for cell in reversed(chosen_cells(options))}
    if options.baseline is not None and options.baseline not in cells:
        sys.exit(f"--baseline {options.baseline}: the models are {sorted(cells)}.")
    with TemporaryDirectory() as scratch:
        teachers = Teachers(options.pre_trained, Path(scratch))
        models = {name: fitted(cell, teachers) for name, cell in sorted(cells.items())}
        yield from measured(models, options.batch_size, options.image_size, torch.device(options.device))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Cells, and how to measure them."""
    add_cell_options(parser)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--baseline", help="the model that the others are compared with")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--accuracy", type=Path, help="summary.csv of a report: draws accuracy against latency")
    parser.add_argument("--setting", default="one class", help="of those accuracies: 'one class' or 'K = 4'")


def draw(rows: pd.DataFrame, options: argparse.Namespace) -> Figure | None:
    """Accuracy against latency, where the accuracies are given."""
    if options.accuracy is None:
        return None
    return accuracy_and_latency(rows, options.batch_size, pd.read_csv(options.accuracy), options.setting)
