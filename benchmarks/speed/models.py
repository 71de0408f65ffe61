# SPDX-License-Identifier: Apache-2.0
"""Time of a training step and of inference, all models side by side in one run.

Every round times each model once, and the median over the rounds counts, so that a busy machine slows all alike.

    python -m benchmarks.speed configs/benchmark/one_class_*.yaml --image_size 256 --out results/speed
    python -m benchmarks.speed ... --accuracy results/report/summary.csv --setting "one class"

On a CPU: eager, OpenVINO FP32, FP16 and INT8. On a CUDA device: FP32, channels_last, AMP, and both.
"""

import argparse
import contextlib
import platform
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from anomalib.data import ImageBatch, get_datamodule
from anomalib.engine import Engine
from anomalib.models import AnomalibModule
from lightning.fabric.utilities import move_data_to_device

from anomalib_fsad.plugin import register
from anomalib_fsad.compare.building import build_model
from anomalib_fsad.compare.cells import Cell, read_cells
from anomalib_fsad.compare.options import add_cell_options, overrides
from anomalib_fsad.compare.report import NONE, table
from anomalib_fsad.compare.store import environment

Run = Callable[[], Any]

OPENVINO = ("OpenVINO FP32", "OpenVINO FP16", "OpenVINO INT8")
REFERENCE = "ReverseDistillation"


def fitted(cell: Cell, weights: Path | None, scratch: Path) -> tuple[AnomalibModule, Any]:
    """A model with its memory bank, statistics or supports in place, after one epoch."""
    model, _ = build_model(cell, weights, scratch, visualizer=False)
    datamodule = get_datamodule(cell.data_config)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    with TemporaryDirectory() as folder:
        Engine(default_root_dir=folder, devices=1, max_epochs=1, **quiet).fit(model, datamodule=datamodule)
    return model, datamodule


def training_step(model: AnomalibModule, batch: ImageBatch, *, amp: bool) -> Run | None:
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


def eager(model: AnomalibModule, images: torch.Tensor, *, amp: bool) -> Run:
    """From images in [0, 1] to scores and maps, pre- and post-processing included."""

    def infer() -> Any:
        model.eval()
        with torch.inference_mode(), torch.autocast("cuda", enabled=amp) if amp else contextlib.nullcontext():
            return model(images)

    return infer


def openvino(model: AnomalibModule, datamodule: Any, images: torch.Tensor, folder: Path) -> dict[str, Run]:
    """The same, exported by anomalib once, in three precisions, and compiled for this CPU."""
    import openvino as ov

    size = (images.shape[-2], images.shape[-1])
    onnx_kwargs = {"opset_version": 18, "external_data": False}
    path = model.cpu().to_openvino(folder, model_file_name=model.name, input_size=size, onnx_kwargs=onnx_kwargs)
    half = path.with_name(f"{model.name}_fp16.xml")
    # What to_openvino does for compression_type=fp16 and int8_ptq, without exporting again.
    ov.save_model(ov.Core().read_model(path), half, compress_to_fp16=True)
    eight = model._post_training_quantization_ov(ov.Core().read_model(path), datamodule)
    array = images.cpu().numpy()
    runs = {}
    for form, network in {"FP32": path, "FP16": half, "INT8": eight}.items():
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        if form == "FP32":
            hints["INFERENCE_PRECISION_HINT"] = "f32"
        runs[f"OpenVINO {form}"] = partial(ov.Core().compile_model(network, "CPU", hints), array)
    return runs


def timed(runs: dict[str, Run], rounds: int, device: torch.device) -> dict[str, float]:
    """Median milliseconds of each, in turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()  # warm up
    for _ in range(rounds):
        for name, run in runs.items():
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            start = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times[name].append(time.perf_counter() - start)
    return {name: 1000 * float(np.median(values)) for name, values in times.items()}


def measure(
    models: dict[str, tuple[AnomalibModule, Any]], batch_size: int, size: int, rounds: int, device: torch.device
) -> pd.DataFrame:
    """One row for each model, task and form: ``ms`` a batch, and ``ratio`` to the reference model."""
    rows: list[dict[str, Any]] = []
    images = torch.rand(batch_size, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    forms = [("eager", False, False)]
    if device.type == "cuda":
        forms += [("channels_last", False, True), ("AMP", True, False), ("AMP, channels_last", True, True)]
    for form, amp, last in forms:
        memory = torch.channels_last if last else torch.contiguous_format
        for model, _ in models.values():
            model.to(device=device, memory_format=memory)
        shown = images.to(memory_format=memory)
        inference = {name: eager(model, shown, amp=amp) for name, (model, _) in models.items()}
        rows += _rows("inference", form, timed(inference, rounds, device))
    if device.type == "cpu":
        with TemporaryDirectory() as folder:
            exported = {}
            for name, (model, datamodule) in models.items():
                try:
                    exported[name] = openvino(model, datamodule, images, Path(folder) / name)
                except Exception as error:  # noqa: PERF203 - one model's export may fail; the others still count
                    print(f"{name}: OpenVINO failed: {type(error).__name__}: {error}", file=sys.stderr)
            for form in OPENVINO:
                runs = {name: forms_of[form] for name, forms_of in exported.items()}
                rows += _rows("inference", form, timed(runs, rounds, device))
    # Training last: it changes weights and statistics.
    for form, amp, last in forms:
        steps: dict[str, Run] = {}
        for name, (model, datamodule) in models.items():
            memory = torch.channels_last if last else torch.contiguous_format
            model.to(device=device, memory_format=memory)
            step = training_step(model, _training_batch(datamodule, batch_size, device, memory), amp=amp)
            if step is not None:
                steps[name] = step
        rows += _rows("training step", form, timed(steps, rounds, device))
    return with_ratios(pd.DataFrame(rows))


def with_ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """``ratio``: how many times as long as the reference model, of the same task and form, takes."""
    reference = rows[rows["model"] == REFERENCE].set_index(["task", "form"])["ms"]
    keys = list(zip(rows["task"], rows["form"], strict=True))
    return rows.assign(ratio=[ms / reference.get(key, float("nan")) for key, ms in zip(keys, rows["ms"], strict=True)])


def markdown(rows: pd.DataFrame) -> str:
    """Milliseconds a batch, and the ratio to the reference in brackets."""
    columns = list(dict.fromkeys(zip(rows["task"], rows["form"], strict=True)))
    lines = []
    for model, group in rows.groupby("model", sort=False):
        found = group.set_index(["task", "form"])
        lines.append([str(model), *(_cell(found.loc[c]) if c in found.index else NONE for c in columns)])
    return table(["model", *(f"{task}, {form}" for task, form in columns)], lines)


def _training_batch(datamodule: Any, batch_size: int, device: torch.device, memory: torch.memory_format) -> ImageBatch:
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


def _rows(task: str, form: str, times: dict[str, float]) -> list[dict[str, Any]]:
    return [{"model": name, "task": task, "form": form, "ms": ms} for name, ms in times.items()]


def _cell(row: pd.Series) -> str:
    return f"{row['ms']:.1f}" + ("" if pd.isna(row["ratio"]) else f" ({row['ratio']:.2f})")


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write speed.csv, speed.md and a plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_cell_options(parser)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for speed.csv, speed.md and speed.png")
    add("--batch_size", type=int, default=8)
    add("--rounds", type=int, default=10)
    add("--accuracy", type=Path, help="summary.csv of anomalib_fsad.compare.report, for the plot of accuracy against latency")
    add("--setting", default="one class", help="of the accuracies: 'one class' or 'K = 4'")
    options = parser.parse_args(arguments)
    if options.image_size is None:
        parser.error("--image_size is needed: it is what makes the models comparable.")
    register()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cells = {cell.model: cell for cell in reversed(read_cells(options.configs, overrides(options)))}
    models = {name: fitted(cell, options.weights, options.out / "weights") for name, cell in sorted(cells.items())}
    rows = measure(models, options.batch_size, options.image_size, options.rounds, device)
    rows["ms_per_image"] = rows["ms"] / options.batch_size
    options.out.mkdir(parents=True, exist_ok=True)
    rows.to_csv(options.out / "speed.csv", index=False, float_format="%.4g")
    made = ", ".join(f"{k} {v}" for k, v in environment(device).items() if k != "finished")
    title = (
        f"Milliseconds for a batch of {options.batch_size} images of {options.image_size} px (times {REFERENCE}'s); "
        f"median of {options.rounds} rounds. {made}, {platform.system()}."
    )
    (options.out / "speed.md").write_text(f"{title}\n\n{markdown(rows)}\n")
    print(f"{title}\n\n{markdown(rows)}")
    if options.accuracy is not None:
        from anomalib_fsad.compare.plots import draw_forms

        draw_forms(rows, pd.read_csv(options.accuracy), options.setting, options.out / "speed.png")


if __name__ == "__main__":
    main()
