# SPDX-License-Identifier: Apache-2.0
"""A bundle of two tiny graphs, written as text: what the deployment does around its graphs is tested without torch.

The encoder's maps are the shrunken image itself, and the scorer compares them with a mean of the supports that is
weighted by likeness: bright spots score high, and images of another brightness score high all over.
"""

from pathlib import Path

import onnx
import openvino as ov

from anomalib_fsad.deploy.bundle import Bundle, Metadata, graph_files, record_file, write_metadata

SIZE = 32
GRIDS = (16, 8)
THRESHOLD = 0.02
"""The toy checkpoint's, on raw scores; its scores are normalised to 0.5 there, and cut off at 1 as anomalib does."""

HEADER = '<ir_version: 8, opset_import: ["" : 18]>'
RESIZE = 'Resize<mode = "linear", axes = [2, 3]>'

ENCODER = f"""{HEADER}
encoder (float[batch, 3, height, width] image) => (float[batch, 3, 16, 16] map_1, float[batch, 3, 8, 8] map_2) {{
    one = Constant<value = int64[2] {{16, 16}}>()
    two = Constant<value = int64[2] {{8, 8}}>()
    map_1 = {RESIZE}(image, , , one)
    map_2 = {RESIZE}(map_1, , , two)
}}"""

SCALE = """
    q_{s} = Unsqueeze(query_{s}, axis_1)
    v_{s} = Unsqueeze(support_{s}, axis_0)
    apart_{s} = Sub(q_{s}, v_{s})
    square_{s} = Mul(apart_{s}, apart_{s})
    distance_{s} = ReduceMean<keepdims = 0>(square_{s}, all_but_two)
    likeness_{s} = Mul(distance_{s}, sharpness)
    weight_{s} = Softmax<axis = 1>(likeness_{s})
    flat_{s} = Flatten(support_{s})
    blend_{s} = MatMul(weight_{s}, flat_{s})
    shape_{s} = Shape(query_{s})
    reference_{s} = Reshape(blend_{s}, shape_{s})
    difference_{s} = Sub(query_{s}, reference_{s})
    error_{s} = Mul(difference_{s}, difference_{s})
    small_{s} = ReduceMean(error_{s}, axis_1)
    large_{s} = Resize<mode = "linear", axes = [2, 3]>(small_{s}, , , size)
    by_scale_{s} = Unsqueeze(weight_{s}, axis_1)"""

RAW = """
    {map} = Add(large_1, large_2)
    {score} = ReduceMax<keepdims = 0>({map}, all_but_one)"""

LABELLED = f"""
    threshold = Constant<value = float {{{THRESHOLD}}}>()
    half = Constant<value = float {{0.5}}>()
    zero = Constant<value = float {{0.0}}>()
    top = Constant<value = float {{1.0}}>()
    score_from_threshold = Sub(raw_score, threshold)
    score_around_half = Add(score_from_threshold, half)
    pred_score = Clip(score_around_half, zero, top)
    map_from_threshold = Sub(raw_map, threshold)
    map_around_half = Add(map_from_threshold, half)
    anomaly_map = Clip(map_around_half, zero, top)
    pred_label = Greater(pred_score, half)
    pred_mask = Greater(anomaly_map, half)"""


def scorer(*, labelled: bool) -> str:
    """The scorer's text, with the checkpoint's threshold inside or without."""
    inputs = ", ".join(
        f"float[{count}, 3, {grid}, {grid}] {role}_{scale}"
        for role, count in (("query", "batch"), ("support", "references"))
        for scale, grid in enumerate(GRIDS, start=1)
    )
    outputs = "float[batch, 2, references] reference_weights, float[batch] pred_score"
    outputs += f", float[batch, 1, {SIZE}, {SIZE}] anomaly_map"
    if labelled:
        outputs += f", float[batch] raw_score, float[batch, 1, {SIZE}, {SIZE}] raw_map"
        outputs += f", bool[batch] pred_label, bool[batch, 1, {SIZE}, {SIZE}] pred_mask"
    raw = {"map": "raw_map", "score": "raw_score"} if labelled else {"map": "anomaly_map", "score": "pred_score"}
    return f"""{HEADER}
scorer ({inputs}) => ({outputs}) {{
    axis_0 = Constant<value = int64[1] {{0}}>()
    axis_1 = Constant<value = int64[1] {{1}}>()
    all_but_one = Constant<value = int64[3] {{1, 2, 3}}>()
    all_but_two = Constant<value = int64[3] {{2, 3, 4}}>()
    size = Constant<value = int64[2] {{{SIZE}, {SIZE}}}>()
    sharpness = Constant<value = float {{-50.0}}>()
    {SCALE.format(s=1)}{SCALE.format(s=2)}{RAW.format(**raw)}{LABELLED if labelled else ""}
    reference_weights = Concat<axis = 1>(by_scale_1, by_scale_2)
}}"""


def write_toy_bundle(folder: Path, *, labelled: bool = True) -> Bundle:
    """Both runtimes' files and their json."""
    folder.mkdir(parents=True)
    for name, text in (("encoder", ENCODER), ("scorer", scorer(labelled=labelled))):
        model = onnx.parser.parse_model(text)
        onnx.checker.check_model(model)
        onnx.save(model, folder / f"{name}.onnx")
        ov.save_model(ov.convert_model(folder / f"{name}.onnx"), folder / f"{name}.xml", compress_to_fp16=False)
    files = [*graph_files("openvino"), *graph_files("onnx")]
    statistics = {"image_min": 0.0, "image_max": 1.0, "image_threshold": THRESHOLD, "image_sensitivity": 0.5}
    return write_metadata(
        folder,
        Metadata(
            model="Toy",
            backbone="none",
            image_size=(SIZE, SIZE),
            map_shapes=tuple((3, grid, grid) for grid in GRIDS),
            normalization=None,
            image_score="max",
            normalized=labelled,
            labelled=labelled,
            post_processing=statistics if labelled else {},
            software={},
            files={name: record_file(folder / name) for name in files},
        ),
    )
