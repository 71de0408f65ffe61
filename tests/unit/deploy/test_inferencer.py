# SPDX-License-Identifier: Apache-2.0
"""The inferencer says what the model says, with no torch, from any number of threads."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalib_fsad.deploy import BundleError, FewShotInferencer
from anomalib_fsad.deploy.images import images_at, to_rgb
from anomalib_fsad.images.decoding import ImageReadError
from tests.unit.deploy.conftest import eager, tensor


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_equals_eager_on_every_kind_of_image(deployed, backend):
    inferencer = FewShotInferencer(deployed.bundle, backend=backend)
    enrolment = inferencer.enroll(deployed.normals, target_fpr=None)
    paths = images_at(deployed.mixed)
    assert len(paths) == 8
    wanted = [eager(deployed.model, path) for path in paths]
    # The network must tell these images and supports apart, or equality would say nothing.
    assert np.std([w.raw_score for w in wanted]) > 0.01
    assert {w.label for w in wanted} == {False, True}
    weights = np.stack([w.weights for w in wanted]).max(axis=2)
    assert weights.mean(axis=0).min() > 0.24
    assert weights.mean() < 0.9
    for path, want, got in zip(paths, wanted, inferencer.predict(paths, enrolment), strict=True):
        assert got.name == str(path)
        assert got.score == pytest.approx(want.score, abs=1e-4)
        assert got.raw_score == pytest.approx(want.raw_score, abs=1e-4)
        assert got.label is want.label
        np.testing.assert_allclose(got.anomaly_map, want.anomaly_map, atol=1e-4)
        np.testing.assert_allclose(got.support_weights_by_scale, want.weights, atol=1e-4)
        np.testing.assert_allclose(got.support_weights, want.weights.mean(axis=0), atol=1e-4)


def test_a_new_organ_needs_no_training(deployed, inferencer):
    """Other supports than the checkpoint's: the same as ``few_shot_source`` gives in anomalib."""
    first = images_at(deployed.mixed)[:2]
    enrolment = inferencer.enroll(first, target_fpr=None)
    model = deployed.model
    own = model.model.support.images
    try:
        model.use_support([tensor(path) for path in first])
        for path in images_at(deployed.mixed)[2:5]:
            assert inferencer.predict(path, enrolment).raw_score == pytest.approx(
                eager(model, path).raw_score, abs=1e-4
            )
    finally:
        model.model.set_support(own)


def test_one_support_is_enough(deployed, inferencer):
    enrolment = inferencer.enroll(images_at(deployed.normals)[0], target_fpr=None)
    assert len(enrolment) == 1
    assert len(enrolment.normal_scores) == 0
    said = inferencer.predict(images_at(deployed.mixed)[0], enrolment)
    assert said.support_weights.tolist() == [1.0]
    assert said.reference_weights is said.support_weights
    assert said.reference_weights_by_scale is said.support_weights_by_scale
    with pytest.raises(ValueError, match="at least 3 normal images"):
        enrolment.with_threshold(0.05)


def test_an_image_scores_alone(deployed, inferencer):
    """Whatever an image is batched with, and however it is handed over."""
    enrolment = inferencer.enroll(deployed.normals)
    path = deployed.mixed / "rgb8.png"
    alone = inferencer.predict(path, enrolment)
    array = np.asarray(Image.open(path))
    others = [np.asarray(Image.open(p)) for p in images_at(deployed.normals)]
    batch = np.stack([others[0], array, *others[1:], *others, *others])
    for same in (
        inferencer.predict(array, enrolment),
        inferencer.predict(Image.open(path), enrolment),
        inferencer.predict(to_rgb(path), enrolment),
        inferencer.predict(batch, enrolment)[1],
        inferencer.predict([others[0], path], enrolment)[1],
    ):
        assert same.score == pytest.approx(alone.score, abs=1e-5)
        np.testing.assert_allclose(same.anomaly_map, alone.anomaly_map, atol=1e-5)


def test_threads_do_not_disturb_one_another(deployed, inferencer):
    organs = [inferencer.enroll(deployed.normals, k_shot=k, seed=k, target_fpr=None) for k in (2, 3, 5)]
    jobs = [(path, organ) for path in images_at(deployed.mixed) for organ in organs] * 3
    wanted = [inferencer.predict(*job).raw_score for job in jobs[:24]] * 3
    with ThreadPoolExecutor(max_workers=8) as pool:
        got = list(pool.map(lambda job: inferencer.predict(*job).raw_score, jobs))
    assert got == pytest.approx(wanted, abs=1e-6)
    assert len({round(score, 6) for score in wanted}) > 16


def test_a_threshold_from_normals_is_at_one_half(deployed, inferencer):
    enrolment = inferencer.enroll(deployed.normals, target_fpr=0.1)
    assert enrolment.threshold is not None
    threshold = enrolment.threshold.value
    # Leave-one-out: the first normal against the other four.
    others = inferencer.enroll(images_at(deployed.normals)[1:])
    alone = inferencer.predict(images_at(deployed.normals)[0], others)
    assert enrolment.normal_scores[0] == pytest.approx(alone.raw_score, abs=1e-5)
    seen = set()
    for prediction in inferencer.predict(images_at(deployed.mixed), enrolment):
        assert prediction.label == (prediction.raw_score > threshold) == (prediction.score > 0.5)
        assert prediction.score == pytest.approx(prediction.raw_score / (prediction.raw_score + threshold), abs=1e-6)
        assert prediction.mask.shape == prediction.anomaly_map.shape == (64, 96)
        assert bool(prediction.mask.any()) == bool((prediction.anomaly_map > 0.5).any())
        seen.add(prediction.label)
    assert seen == {False, True}


def test_copies_among_the_normals_would_spoil_a_threshold(deployed, inferencer):
    path = images_at(deployed.normals)[0]
    with pytest.raises(ValueError, match="are the same image"):
        inferencer.enroll([path, images_at(deployed.normals)[1], path], target_fpr=0.1)


def test_draws_its_supports_by_seed(deployed, inferencer):
    draws = [inferencer.enroll(deployed.normals, k_shot=3, seed=seed).names for seed in (1, 1, 2, 3, 4)]
    assert draws[0] == draws[1]
    assert len(set(draws)) > 1
    assert all(len(set(names)) == 3 and list(names) == sorted(names) for names in draws)


def test_says_what_is_wrong(deployed, tmp_path):
    inferencer = FewShotInferencer(deployed.bundle, backend="onnx", config={"intra_op_num_threads": 1})
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    with pytest.raises(TypeError, match=r"needs an enrolment: predict\(image, enrolment\), with what enroll"):
        inferencer.predict(image)
    with pytest.raises(ValueError, match="holds 5 images, but k_shot=9"):
        inferencer.enroll(deployed.normals, k_shot=9)
    with pytest.raises(ValueError, match="holds no images"):
        inferencer.enroll(tmp_path)
    with pytest.raises(FileNotFoundError, match="none' does not exist"):
        inferencer.enroll(tmp_path / "none")
    with pytest.raises(ValueError, match=r"target_fpr=0\.7"):
        inferencer.enroll(deployed.normals, target_fpr=0.7)
    with pytest.raises(ValueError, match="channels last"):
        inferencer.enroll([np.zeros((3, 64, 60), dtype=np.uint8)])
    with pytest.raises(ValueError, match=r"holds values in \[0, 1\]"):
        inferencer.enroll([np.full((64, 64), np.nan)])
    with pytest.raises(TypeError, match="not a int"):
        inferencer.enroll([7])
    with pytest.raises(ValueError, match="backend='tensorrt'"):
        FewShotInferencer(deployed.bundle, backend="tensorrt")
    with pytest.raises(ValueError, match="intensity="):
        FewShotInferencer(deployed.bundle, intensity="bright")
    with pytest.raises(BundleError, match="on NOWHERE"):
        FewShotInferencer(deployed.bundle, backend="openvino", device="NOWHERE")


LIGHT = """
import json, sys
sys.modules["torch"] = None  # an import of it would fail
import anomalib_fsad.deploy
from anomalib_fsad.deploy import FewShotInferencer
bundle, normals, image, backend, saved = sys.argv[1:]
inferencer = FewShotInferencer(bundle, backend=backend)
inferencer.enroll(normals, target_fpr=0.1).save(saved)
score = inferencer.predict(image, inferencer.load(saved)).raw_score
heavy = ["anomalib", "lightning", "matplotlib", "pandas", "scipy", "timm", "torchvision", "onnx"]
heavy += ["openvino", "onnxruntime"]
print(json.dumps([score, [name for name in heavy if name in sys.modules]]))
"""


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_needs_neither_torch_nor_anomalib(deployed, inferencer, tmp_path, backend):
    image = deployed.mixed / "scanner/slice.dcm"
    arguments = [str(deployed.bundle), str(deployed.normals), str(image), backend, str(tmp_path / "organ.npz")]
    run = subprocess.run(
        [sys.executable, "-c", LIGHT, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    score, imported = json.loads(run.stdout)
    assert imported == ["openvino" if backend == "openvino" else "onnxruntime"]
    enrolment = inferencer.enroll(deployed.normals)
    assert score == pytest.approx(inferencer.predict(image, enrolment).raw_score, abs=1e-4)


def test_hidden_files_are_no_images(tmp_path):
    for name in ("a.png", "._a.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    assert [path.name for path in images_at(tmp_path)] == ["a.png"]


def test_a_bad_file_is_named_and_leaves_no_trace(deployed, inferencer, tmp_path):
    enrolment = inferencer.enroll(deployed.normals)
    before = inferencer.predict(deployed.mixed / "rgb8.png", enrolment).score
    for file in ("rgb8.png", "large.jpg", "grey8.bmp", "grey16.tif", "scanner/slice.dcm"):
        content = (deployed.mixed / file).read_bytes()
        half = tmp_path / f"half{Path(file).suffix}"
        half.write_bytes(content[: len(content) // 2])
        with pytest.raises(ImageReadError, match="half"):
            inferencer.predict(half, enrolment)
    assert inferencer.predict(deployed.mixed / "rgb8.png", enrolment).score == before
