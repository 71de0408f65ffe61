# SPDX-License-Identifier: Apache-2.0
"""A D24FAD -> a bundle. The one part of the deployment that needs torch and anomalib."""

import logging
import math
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from torch import Tensor, nn
from torch.export import Dim
from torchvision.transforms.v2 import Normalize

from anomalib_fsad import __version__
from anomalib_fsad.deploy.bundle import (
    METADATA_FILE,
    SUFFIXES,
    Backend,
    Bundle,
    Metadata,
    graph_files,
    record_file,
    write_metadata,
)
from anomalib_fsad.deploy.graphs import Encoder, Scorer
from anomalib_fsad.models.components.export import ONNX_OPSET
from anomalib_fsad.models.d24fad.lightning_model import D24FAD
from anomalib_fsad.models.d24fad.nearest_model import NearestModel

logger = logging.getLogger(__name__)

PROBES = ((32, 40), (56, 48))
"""Sizes of images that must come out of the pre-processor at one size."""

POST_PROCESSING = ("enable_normalization", "enable_thresholding", "image_sensitivity", "pixel_sensitivity")
STATISTICS = ("image_threshold", "pixel_threshold", "image_min", "image_max", "pixel_min", "pixel_max")


def export(
    source: D24FAD | str | Path,
    folder: str | Path,
    formats: Sequence[Backend] = ("openvino", "onnx"),
) -> Bundle:
    """Write the two graphs of a D24FAD and their json into a folder.

    The references of the checkpoint are left out: a bundle is enrolled anew for each organ. What the pre-processor
    and the post-processor do is in the graphs.

    Args:
        source: a checkpoint, or a model; a model is not changed.
        folder: where to; files of an earlier export are replaced.
        formats: ``openvino``, ``onnx`` or both.

    Example:
        >>> from anomalib_fsad.deploy import export
        >>> export("model.ckpt", "bundle", formats=["openvino"])  # doctest: +SKIP
    """
    unknown = [name for name in formats if name not in SUFFIXES]
    if unknown or not formats:
        msg = f"formats={list(formats)} must be one or both of {list(SUFFIXES)}."
        raise ValueError(msg)
    model = source if isinstance(source, D24FAD) else D24FAD.load_from_checkpoint(source, map_location="cpu")
    if isinstance(model.model, NearestModel):
        msg = (
            "A bundle compares place by place (matching=aligned), and this model has matching=nearest. Its bank of "
            "patches is in the files of: anomalib export --export_type openvino --ckpt_path CKPT."
        )
        raise ValueError(msg)
    encoder = Encoder(model)
    size, maps = _probe(encoder)
    scorer = Scorer(model, size)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Without its json a folder is no bundle: an export that breaks off leaves none behind.
    (folder / METADATA_FILE).unlink(missing_ok=True)
    for name in (name for backend in SUFFIXES for name in graph_files(backend)):
        (folder / name).unlink(missing_ok=True)
    _write_graphs(encoder, scorer, maps, folder, formats)
    files = {name: record_file(folder / name) for backend in formats for name in graph_files(backend)}
    return write_metadata(
        folder,
        Metadata(
            model=type(model).__name__,
            backbone=str(model.hparams.get("backbone")),
            image_size=size,
            map_shapes=tuple((m.shape[1], m.shape[2], m.shape[3]) for m in maps),
            normalization=_normalization(model),
            image_score=model.model.image_score,
            normalized=scorer.normalized,
            labelled=scorer.labelled,
            post_processing=_post_processing(model.post_processor),
            software=_software(),
            files=files,
        ),
    )


@torch.no_grad()
def _probe(encoder: Encoder) -> tuple[tuple[int, int], list[Tensor]]:
    """The size all images are brought to, and the maps of a batch of two."""
    sizes = {tuple(encoder.transform(torch.zeros(1, 3, *probe)).shape[-2:]) for probe in PROBES}
    if len(sizes) != 1:
        msg = (
            "A bundle needs a pre-processor that resizes all images to one size; this one does not. Train with "
            "D24FAD's own (image_size=128 or [height, width])."
        )
        raise ValueError(msg)
    height, width = sizes.pop()
    return (height, width), list(encoder(torch.zeros(2, 3, *PROBES[0])))


def _write_graphs(
    encoder: Encoder, scorer: Scorer, maps: Sequence[Tensor], folder: Path, formats: Sequence[Backend]
) -> None:
    scales = range(1, len(maps) + 1)
    _write_onnx(
        encoder,
        (torch.zeros(2, 3, *PROBES[0]),),
        folder / "encoder.onnx",
        ["image"],
        [f"map_{scale}" for scale in scales],
        ({0: Dim("batch"), 2: Dim("height"), 3: Dim("width")},),
    )
    batch, references = Dim("batch"), Dim("references")
    # Three references, so that the two axes are told apart.
    supports = [torch.cat([m, m[:1]]) for m in maps]
    _write_onnx(
        scorer,
        (list(maps), supports),
        folder / "scorer.onnx",
        [f"{role}_{scale}" for role in ("query", "support") for scale in scales],
        scorer.outputs,
        ([{0: batch}] * len(maps), [{0: references}] * len(maps)),
    )
    if "openvino" in formats:
        import openvino as ov

        for graph in ("encoder", "scorer"):
            ov.save_model(ov.convert_model(folder / f"{graph}.onnx"), folder / f"{graph}.xml", compress_to_fp16=False)
    if "onnx" not in formats:
        for name in graph_files("onnx"):
            (folder / name).unlink()


def _write_onnx(
    network: nn.Module, example: Any, path: Path, inputs: list[str], outputs: list[str], shapes: Any
) -> None:
    logger.info("Exporting %s.", path.stem)
    torch.onnx.export(
        network,
        example,
        path,
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=shapes,
        opset_version=ONNX_OPSET,
        external_data=False,
        dynamo=True,
        verbose=False,
    )


def _normalization(model: D24FAD) -> dict[str, list[float]] | None:
    transform = model.pre_processor.transform if isinstance(model.pre_processor, PreProcessor) else None
    for step in getattr(transform, "transforms", [transform]):
        if isinstance(step, Normalize):
            return {"mean": [float(v) for v in step.mean], "std": [float(v) for v in step.std]}
    return None


def _post_processing(post_processor: nn.Module | None) -> dict[str, float | bool | None]:
    if not isinstance(post_processor, PostProcessor):
        return {}
    statistics = {name: float(getattr(post_processor, name)) for name in STATISTICS}
    return {
        **{name: getattr(post_processor, name) for name in POST_PROCESSING},
        # A value that was never found is null in the json, not NaN.
        **{name: value if math.isfinite(value) else None for name, value in statistics.items()},
    }


def _software() -> dict[str, str]:
    versions = {"anomalib-fsad": __version__, "python": platform.python_version()}
    return versions | {package: version(package) for package in ("anomalib", "torch", "onnx", "openvino")}
