# SPDX-License-Identifier: Apache-2.0
"""A model of this package -> a bundle. The one part of the deployment that needs torch and anomalib."""

import logging
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from anomalib.post_processing import PostProcessor
from torch import Tensor, nn
from torch.export import Dim

from anomalib_fsad import __version__, registry
from anomalib_fsad.deploy.bundle import (
    GRAPHS,
    METADATA_FILE,
    SUFFIXES,
    Backend,
    BankRecipe,
    Bundle,
    Metadata,
    graph_files,
    record_file,
    write_metadata,
)
from anomalib_fsad.deploy.graphs import (
    Encoder,
    NearestScorer,
    Scorer,
    Views,
    Whole,
    is_labelled,
    is_normalized,
    transform_of,
)
from anomalib_fsad.models.components.checkpoint import model_name_of
from anomalib_fsad.models.components.detector import Detector, normalization_of
from anomalib_fsad.models.components.export import ONNX_OPSET
from anomalib_fsad.models.d24fad.few_shot import FewShotDetector
from anomalib_fsad.models.d24fad.nearest_model import NearestModel
from anomalib_fsad.models.d24fad.patch_bank import MAXIMUM
from anomalib_fsad.models.d24fad.views import views

logger = logging.getLogger(__name__)

PROBES = ((32, 40), (56, 48))
"""Sizes of images that must come out of the pre-processor at one size."""

POST_PROCESSING = ("enable_normalization", "enable_thresholding", "image_sensitivity", "pixel_sensitivity")
STATISTICS = ("image_threshold", "pixel_threshold", "image_min", "image_max", "pixel_min", "pixel_max")

TEACHERS = ("backbone", "second_backbone")

IMAGE = {0: Dim("batch"), 2: Dim("height"), 3: Dim("width")}


class Graph(NamedTuple):
    """A network, and how it is exported."""

    network: nn.Module
    example: tuple[Any, ...]
    inputs: list[str]
    outputs: list[str]
    shapes: tuple[Any, ...]


def export(
    source: Detector | str | Path,
    folder: str | Path,
    formats: Sequence[Backend] = ("openvino", "onnx"),
) -> Bundle:
    """Write the graphs of a model and their json into a folder.

    The support of a checkpoint is left out: a bundle is enrolled anew for each organ. What the pre-processor and the
    post-processor do is in the graphs.

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
    model = source if isinstance(source, Detector) else load_model(source)
    size, shapes, graphs = _graphs(model)
    normalized, labelled = is_normalized(model.post_processor), is_labelled(model.post_processor)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Without its json a folder is no bundle: an export that breaks off leaves none behind.
    (folder / METADATA_FILE).unlink(missing_ok=True)
    for name in (name for backend in SUFFIXES for name in graph_files(backend, GRAPHS)):
        (folder / name).unlink(missing_ok=True)
    _write_graphs(graphs, folder, formats, model._onnx_translations())
    files = {name: record_file(folder / name) for backend in formats for name in graph_files(backend, list(graphs))}
    return write_metadata(
        folder,
        Metadata(
            model=type(model).__name__,
            backbone=" + ".join(str(model.hparams[o]) for o in TEACHERS if model.hparams.get(o)),
            image_size=size,
            map_shapes=shapes,
            normalization=_normalization(model),
            image_score=getattr(model.model, "image_score", "max"),
            normalized=normalized,
            labelled=labelled,
            post_processing=_post_processing(model.post_processor),
            software=_software(),
            files=files,
            bank=_bank_recipe(model.model),
        ),
    )


def load_model(checkpoint: str | Path) -> Detector:
    """The model of a checkpoint, on the CPU."""
    model_class = registry.load(model_name_of(Path(checkpoint)))
    loaded: Detector = model_class.load_from_checkpoint(checkpoint, map_location="cpu")
    return loaded.eval()


@torch.no_grad()
def _graphs(model: Detector) -> tuple[tuple[int, int], tuple[tuple[int, int, int], ...], dict[str, Graph]]:
    """The size all images are brought to, the shapes of the maps that are compared, and the graphs."""
    size = _image_size(model)
    image = torch.zeros(2, 3, *PROBES[0])
    if not isinstance(model, FewShotDetector):
        whole = Whole(model)
        return size, (), {"detector": Graph(whole, (image,), ["image"], whole.outputs, (IMAGE,))}
    encoder = Encoder(model)
    maps = list(encoder(image))
    levels = range(1, len(maps) + 1)
    graphs = {"encoder": Graph(encoder, (image,), ["image"], [f"map_{level}" for level in levels], (IMAGE,))}
    if isinstance(model.model, NearestModel):
        graphs["scorer"] = _nearest_scorer(model, size, maps)
    else:
        graphs["scorer"] = _scorer(model, size, maps)
    if _seen_from(model.model) > 1:
        one = {axis: size for axis, size in IMAGE.items() if axis}
        graphs["views"] = Graph(Views(model), (image[:1],), ["image"], ["views"], (one,))
    return size, tuple((m.shape[1], m.shape[2], m.shape[3]) for m in maps), graphs


def _scorer(model: FewShotDetector, size: tuple[int, int], maps: list[Tensor]) -> Graph:
    scorer = Scorer(model, size)
    # Three supports, so that the two axes are told apart.
    supports = [torch.cat([m, m[:1]]) for m in maps]
    inputs = [f"{role}_{scale}" for role in ("query", "support") for scale in range(1, len(maps) + 1)]
    shapes = ([{0: Dim("batch")}] * len(maps), [{0: Dim("supports")}] * len(maps))
    return Graph(scorer, (maps, supports), inputs, scorer.outputs, shapes)


def _nearest_scorer(model: FewShotDetector, size: tuple[int, int], maps: list[Tensor]) -> Graph:
    levels = len(maps)
    scorer = NearestScorer(model, size, levels)
    # As many patches as no other axis is long, and no two levels have.
    patches = [torch.rand(1009 + level, m.shape[1]) for level, m in enumerate(maps)]
    inputs = [f"{role}_{level}" for role in ("query", "patches") for level in range(1, levels + 1)]
    shapes = ([{0: Dim("batch")}] * levels, [{0: Dim(f"patches_{level}")} for level in range(levels)], None)
    return Graph(scorer, (maps, patches, torch.ones(levels)), [*inputs, "usual"], scorer.outputs, shapes)


def _image_size(model: Detector) -> tuple[int, int]:
    transform = transform_of(model)
    sizes = {tuple(transform(torch.zeros(1, 3, *probe)).shape[-2:]) for probe in PROBES}
    if len(sizes) != 1:
        msg = (
            "A bundle needs a pre-processor that resizes all images to one size; this one does not. Train with the "
            "model's own (image_size=128 or [height, width])."
        )
        raise ValueError(msg)
    height, width = sizes.pop()
    return height, width


def _bank_recipe(network: nn.Module) -> BankRecipe | None:
    if not isinstance(network, NearestModel):
        return None
    return BankRecipe(MAXIMUM, _seen_from(network), network.calibrate)


def _seen_from(network: nn.Module) -> int:
    """How many sides each support is seen from."""
    augmented = isinstance(network, NearestModel) and network.augment_support
    return views(torch.zeros(1, 1, 2, 2)).shape[1] if augmented else 1


def _write_graphs(
    graphs: Mapping[str, Graph], folder: Path, formats: Sequence[Backend], translations: Mapping[Any, Any]
) -> None:
    for name, graph in graphs.items():
        logger.info("Exporting %s.", name)
        onnx_file = folder / f"{name}.onnx"
        torch.onnx.export(
            graph.network,
            graph.example,
            onnx_file,
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_shapes=graph.shapes,
            opset_version=ONNX_OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
            custom_translation_table=dict(translations),
        )
        if "openvino" in formats:
            import openvino as ov

            ov.save_model(ov.convert_model(onnx_file), folder / f"{name}.xml", compress_to_fp16=False)
        if "onnx" not in formats:
            onnx_file.unlink()


def _normalization(model: Detector) -> dict[str, list[float]] | None:
    step = normalization_of(model.pre_processor)
    return step and {"mean": [float(v) for v in step.mean], "std": [float(v) for v in step.std]}


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
