# SPDX-License-Identifier: Apache-2.0
"""What is in a bundle, and that its two graphs are the model's own computation."""

import copy
import dataclasses
import shutil

import numpy as np
import onnx
import pytest
import torch
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from torch import nn
from torchvision.transforms.v2 import Normalize

from anomalib_fsad.deploy import FewShotInferencer, export
from anomalib_fsad.deploy.bundle import load_bundle, record_file, write_metadata
from anomalib_fsad.deploy.graphs import Encoder, NearestScorer, Scorer, Views, is_labelled
from anomalib_fsad.deploy.images import images_at
from anomalib_fsad.models.d24fad import D24FAD
from anomalib_fsad.models.d24fad.support import SupportMaps
from tests.unit.deploy.conftest import eager

LABELS = ["pred_label", "pred_mask"]
RAW = ["raw_score", "raw_map"]
ALWAYS = ["reference_weights", "pred_score", "anomaly_map"]


def small(**options) -> D24FAD:
    return D24FAD(k_shot=2, backbone="resnet18", pre_trained=False, image_size=64, **options)


def test_the_files_and_their_json(deployed):
    bundle = load_bundle(deployed.bundle)
    names = {"encoder.xml", "encoder.bin", "encoder.onnx", "scorer.xml", "scorer.bin", "scorer.onnx"}
    assert {path.name for path in deployed.bundle.iterdir()} == names | {"bundle.json"}
    assert bundle.backends == ("openvino", "onnx")
    metadata = bundle.metadata
    assert (metadata.model, metadata.backbone, metadata.image_score) == ("D24FAD", "resnet18", "max")
    assert metadata.image_size == (64, 96)
    assert metadata.map_shapes == ((64, 16, 24), (128, 8, 12), (256, 4, 6))
    assert metadata.normalization is None
    assert metadata.normalized
    assert metadata.labelled
    assert metadata.post_processing["image_threshold"] == pytest.approx(
        deployed.model.post_processor.image_threshold.item()
    )
    assert {"anomalib", "torch", "openvino", "anomalib-fsad"} <= metadata.software.keys()
    # The scorer is small: it holds neither teacher nor student.
    assert metadata.files["scorer.bin"].bytes * 50 < metadata.files["encoder.bin"].bytes


@pytest.mark.parametrize("normalization", [True, False])
def test_labels_without_a_validation_mean_nothing(normalization):
    """anomalib compares with 0.5 then, whatever the range of the scores."""
    assert not is_labelled(PostProcessor(enable_normalization=normalization))


def test_onnx_is_one_file_at_opset_18_with_clear_names(deployed):
    for name, inputs, outputs in (
        ("encoder", ["image"], ["map_1", "map_2", "map_3"]),
        (
            "scorer",
            ["query_1", "query_2", "query_3", "support_1", "support_2", "support_3"],
            [*ALWAYS, *RAW, *LABELS],
        ),
    ):
        model = onnx.load(deployed.bundle / f"{name}.onnx", load_external_data=False)
        assert [opset.version for opset in model.opset_import if opset.domain in {"", "ai.onnx"}] == [18]
        assert not any(tensor.external_data for tensor in model.graph.initializer)
        assert [value.name for value in model.graph.input] == inputs
        assert [value.name for value in model.graph.output] == outputs


def test_without_statistics_the_raw_scores_remain(deployed):
    """A checkpoint that has seen no validation has no threshold: the scorer leaves scores as they are."""
    model = small()
    scorer = Scorer(model, (64, 64))
    assert scorer.outputs == ALWAYS
    queries = list(Encoder(model)(torch.rand(2, 3, 70, 90)))
    supports = list(Encoder(model)(torch.rand(3, 3, 60, 50)))
    weights, score, anomaly_map = scorer(queries, supports)
    model.model.support.images = torch.zeros(3, 3, 64, 64)
    model.model.support.hold(SupportMaps(model.model.l2w.keys(supports), supports))
    assert weights.shape == (2, 3, 3)
    torch.testing.assert_close(score, anomaly_map.amax(dim=(1, 2, 3)))


@pytest.fixture
def raw_bundle(deployed, tmp_path):
    """The bundle as it is without statistics: the raw values under the names of the final ones, no labels."""
    bundle = load_bundle(deployed.bundle)
    scorer = onnx.load(deployed.bundle / "scorer.onnx")
    names = {"pred_score": "unused_1", "anomaly_map": "unused_2", "raw_score": "pred_score", "raw_map": "anomaly_map"}
    for node in scorer.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    outputs = [value for value in scorer.graph.output if value.name in {"reference_weights", *RAW}]
    for value in outputs:
        value.name = names.get(value.name, value.name)
    kept = [copy.deepcopy(value) for value in outputs]
    del scorer.graph.output[:]
    scorer.graph.output.extend(kept)
    onnx.save(scorer, tmp_path / "scorer.onnx")
    shutil.copy(deployed.bundle / "encoder.onnx", tmp_path)
    files = {name: record_file(tmp_path / name) for name in ("encoder.onnx", "scorer.onnx")}
    metadata = dataclasses.replace(bundle.metadata, normalized=False, labelled=False, files=files)
    return write_metadata(tmp_path, metadata).folder


def test_a_bundle_without_statistics_scores_raw(deployed, raw_bundle):
    inferencer = FewShotInferencer(raw_bundle)
    assert inferencer.backend == "onnx"
    path = images_at(deployed.mixed)[0]
    plain = inferencer.predict(path, inferencer.enroll(deployed.normals, target_fpr=None))
    assert plain.label is None
    assert plain.mask is None
    assert plain.score == plain.raw_score == pytest.approx(eager(deployed.model, path).raw_score, abs=1e-4)
    np.testing.assert_array_equal(plain.anomaly_map, plain.raw_map)
    # Its threshold can only be the enrolment's.
    enrolment = inferencer.enroll(deployed.normals, target_fpr=0.2)
    judged = inferencer.predict(path, enrolment)
    assert judged.label is (judged.raw_score > enrolment.threshold.value)


def test_takes_the_mean_and_imagenet_normalisation(deployed):
    """Options of the model reach the graphs: the eager parts, as they are exported."""
    model = small(image_score="mean", pre_processor=_normalising()).eval()
    image = torch.rand(1, 3, 64, 64)
    model.model.set_support(model.pre_processor.transform(torch.rand(2, 3, 64, 64)))
    encoder, scorer = Encoder(model), Scorer(model, (64, 64))
    _, score, _ = scorer(list(encoder(image)), model.model.support.maps.values)
    torch.testing.assert_close(score, model(image).pred_score, atol=1e-6, rtol=1e-4)


def test_the_model_is_left_as_it_was(deployed):
    model = small()
    model.train()
    Scorer(model, (64, 64))
    Encoder(model)
    assert model.training
    assert model.model.student.training
    assert any(parameter.requires_grad for parameter in model.parameters())


def test_what_a_space_counts_is_in_the_graphs():
    model = small(matching="nearest", spaces=["teacher", "student"], space_weights="learnt").eval()
    model.use_support(list(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    alike = model.model(images).pred_score
    model.model.space_weights.copy_(torch.tensor([0.5, 1.5]))
    model.model.encode_support()
    expected = model.model(images).pred_score
    assert not torch.allclose(expected, alike)
    levels = model.model.support.bank.levels
    scorer = NearestScorer(model, (64, 64), len(levels))
    outputs = scorer(Encoder(model)(images), [level.patches for level in levels], torch.ones(len(levels)))
    actual = dict(zip(scorer.outputs, outputs, strict=True))["pred_score"]
    torch.testing.assert_close(actual, expected)


def test_refuses_what_cannot_be_a_bundle(tmp_path, deployed):
    with pytest.raises(ValueError, match="resizes all images to one size"):
        export(small(pre_processor=False), tmp_path / "bundle")
    with pytest.raises(TypeError, match="anomalib's PostProcessor or none, not a Identity"):
        export(small(post_processor=nn.Identity()), tmp_path / "bundle")
    with pytest.raises(ValueError, match=r"formats=\['tflite'\]"):
        export(small(), tmp_path / "bundle", formats=["tflite"])
    assert not (tmp_path / "bundle").exists()


def _normalising() -> PreProcessor:
    from torchvision.transforms.v2 import Compose, Resize

    steps = [Resize((64, 64), antialias=True), Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])]
    return PreProcessor(Compose(steps))


def test_views_need_a_pre_processor_that_they_commute_with():
    from torchvision.transforms.v2 import CenterCrop, Compose, Resize

    cropping = PreProcessor(Compose([Resize((80, 80), antialias=True), CenterCrop(64)]))
    with pytest.raises(ValueError, match=r"augment_support=True .* has \['ExactResize', '\w*CenterCrop'\]"):
        Views(small(matching="nearest", augment_support=True, pre_processor=cropping))
