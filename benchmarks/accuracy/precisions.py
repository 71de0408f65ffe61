# SPDX-License-Identifier: Apache-2.0
"""What each precision does to the scores: mixed precision, and OpenVINO in 32 and 16 bits and with 8-bit networks.

Each model is trained for minutes on drawn organs with a small trained teacher, exported by anomalib, and scores the
same test images in every form. A processor without bfloat16 runs OpenVINO as the line "f32" says.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import openvino
import pandas as pd
import torch
from anomalib.data.utils import read_image
from anomalib.deploy import CompressionType, ExportType
from anomalib.engine import Engine
from numpy.typing import NDArray
from rich.progress import track
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from anomalib_fsad import D24FAD, PDD, SCRD4AD, MedicalFewShot
from anomalib_fsad.compare.page import Block, Table, Text
from benchmarks.command import parser_of
from benchmarks.page import add_place, command, made_with, write

TEACHER: dict[str, Any] = {"backbone": "tf_efficientnet_lite0", "image_size": 128, "visualizer": False}

MODELS: dict[str, Callable[[], Any]] = {
    "D24FAD, aligned": lambda: D24FAD(**TEACHER, support_mode="in_batch", lr=3e-4, max_epochs=2),
    "D24FAD, nearest": lambda: D24FAD(
        **TEACHER, support_mode="in_batch", matching="nearest", augment_support=True, lr=3e-4, max_epochs=2
    ),
    "SCRD4AD": lambda: SCRD4AD(**TEACHER, max_epochs=8),
    "PDD, one teacher": lambda: PDD(**TEACHER, second_backbone=None, max_epochs=8),
}

Scores = NDArray[np.float64]
Run = Callable[[torch.Tensor], Scores]


def data(root: Path, model: Any) -> MedicalFewShot:
    """Drawn organs: all but one for the few-shot model, that one for the others; tested on 80 images of that one."""
    few_shot = isinstance(model, D24FAD)
    return MedicalFewShot(
        root,
        "brain_mri",
        reader="phantom",
        reader_args={"image_size": TEACHER["image_size"], "n_train": 40, "n_test": 40},
        protocol="episodic" if few_shot else "one_class",
        same_category_batches=few_shot,
        k_shot=4,
        val_images=8,
        num_workers=0,
    )


def eager(model: Any) -> Run:
    """As the checkpoint scores."""
    return torch.inference_mode()(lambda images: model(images).pred_score.double().numpy())


def mixed(model: Any) -> Run:
    """As ``--trainer.precision bf16-mixed`` scores."""

    @torch.inference_mode()
    def run(images: torch.Tensor) -> Scores:
        with torch.autocast("cpu", torch.bfloat16):
            return model(images).pred_score.double().numpy()

    return run


def in_openvino(path: Path, precision: str) -> Run:
    """An exported model."""
    network = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return lambda images: network(images.numpy())["pred_score"].astype(float)


def forms(model: Any, engine: Engine, datamodule: MedicalFewShot, folder: Path) -> dict[str, Run]:
    """Name of a precision -> what scores in it."""

    def exported(name: str, compression: CompressionType | None = None) -> Path:
        more = {} if compression is None else {"compression_type": compression, "datamodule": datamodule}
        engine.export(model, ExportType.OPENVINO, export_root=folder / name, **more)
        return folder / name / "weights/openvino/model.xml"

    plain = exported("plain")
    runs = {
        "bf16-mixed": mixed(model),
        "OpenVINO f32": in_openvino(plain, "f32"),
        "OpenVINO FP16 weights": in_openvino(exported("fp16", CompressionType.FP16), "f32"),
        "OpenVINO INT8": in_openvino(exported("int8", CompressionType.INT8_PTQ), "f32"),
    }
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        runs["OpenVINO bf16"] = in_openvino(plain, "bf16")
    return runs


def scores(run: Run, images: Sequence[torch.Tensor]) -> Scores:
    """Of all images, one at a time."""
    return np.concatenate([run(image[None]).reshape(-1) for image in images])


def compared(name: str, form: str, actual: Scores, expected: Scores, labels: Sequence[int]) -> dict[str, Any]:
    """A row: how far a form's scores are from the checkpoint's."""
    deviation = np.abs(actual - expected) / expected.std()
    auroc, changed = roc_auc_score(labels, expected), roc_auc_score(labels, actual)
    return {
        "model": name,
        "form": form,
        "largest deviation": deviation.max(),
        "median deviation": np.median(deviation),
        "rank correlation": spearmanr(actual, expected).statistic,
        "AUROC, eager FP32": 100 * auroc,
        "change of AUROC": 100 * (changed - auroc),
    }


def measure(models: Mapping[str, Callable[[], Any]], folder: Path) -> pd.DataFrame:
    """A row for each model and form."""
    rows = []
    for place, (name, build) in enumerate(track(models.items(), "Models")):
        model = build()
        datamodule = data(folder / "phantom", model)
        root = folder / str(place)
        engine = Engine(default_root_dir=root, devices=1, logger=False, enable_progress_bar=False)
        engine.fit(model, datamodule=datamodule)
        engine.test(model, datamodule=datamodule, verbose=False)
        model.eval()
        samples = datamodule.test_data.samples
        images = [torch.as_tensor(read_image(file, as_tensor=True)) for file in samples["image_path"]]
        expected = scores(eager(model), images)
        labels = list(samples["label_index"])
        for form, run in forms(model, engine, datamodule, root).items():
            rows.append(compared(name, form, scores(run, images), expected, labels))
    return pd.DataFrame(rows)


def main(arguments: Sequence[str]) -> None:
    """Write the table."""
    parser = parser_of("accuracy precisions", __doc__)
    add_place(parser, "accuracy")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS), help="which to measure")
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        rows = measure({name: MODELS[name] for name in options.models}, Path(folder))
    words = (
        "Deviations of a score from the checkpoint's in eager FP32, in units of the scores' standard deviation over 80"
        " test images of a drawn organ; AUROC in per cent."
    )
    blocks: list[Block] = [made_with(command(parser.prog, arguments)), Text(words), Table.of(rows)]
    write(options.results, "precisions", "What each precision does to the scores", rows, blocks)
