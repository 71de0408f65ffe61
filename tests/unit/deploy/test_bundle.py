# SPDX-License-Identifier: Apache-2.0
"""Damaged, swapped, edited and foreign files: one error class, and a message that names the file."""

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalib_fsad.deploy import BundleError, FewShotInferencer
from anomalib_fsad.deploy.bundle import Metadata, digest_of, load_bundle, record_file, write_metadata


def make_bundle(folder, content=b"graph"):
    """The format alone, with files that no runtime would take."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("encoder.onnx", "scorer.onnx"):
        (folder / name).write_bytes(name.encode() + content)
    return write_metadata(
        folder,
        Metadata(
            model="D24FAD",
            backbone="resnet18",
            image_size=(64, 64),
            map_shapes=((64, 16, 16), (128, 8, 8), (256, 4, 4)),
            normalization=None,
            image_score="max",
            normalized=False,
            labelled=False,
            post_processing={},
            software={"anomalib-fsad": "0.1.0"},
            files={name: record_file(folder / name) for name in ("encoder.onnx", "scorer.onnx")},
        ),
    )


def edit(folder, sign=True, **changes):
    path = folder / "bundle.json"
    document = json.loads(path.read_text())
    document.update(changes)
    if sign:
        del document["digest"]
        document["digest"] = digest_of(document)
    path.write_text(json.dumps(document))


def test_round_trip(tmp_path):
    written = make_bundle(tmp_path / "bundle")
    read = load_bundle(tmp_path / "bundle")
    assert read == written
    assert read.read("scorer.onnx") == b"scorer.onnxgraph"
    assert load_bundle(tmp_path / "bundle", expected_digest=read.digest) == read
    assert make_bundle(tmp_path / "other", b"grape").digest != read.digest


def test_files_that_changed(tmp_path):
    bundle = make_bundle(tmp_path)
    (tmp_path / "scorer.onnx").write_bytes(b"scorer.onnxgrapx")
    with pytest.raises(BundleError, match=r"scorer\.onnx' is not the file that was exported"):
        bundle.read("scorer.onnx")
    (tmp_path / "scorer.onnx").write_bytes(b"scorer.onnxgra")
    with pytest.raises(BundleError, match="has 14 bytes where 16 are expected"):
        bundle.read("scorer.onnx")
    (tmp_path / "scorer.onnx").unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        bundle.read("scorer.onnx")
    with pytest.raises(BundleError, match=r"has no 'scorer\.xml'"):
        bundle.read("scorer.xml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 3}, "has version 3 of anomalib-fsad-bundle; this anomalib-fsad reads version 1 and 2"),
        ({"format": "model"}, "is no anomalib-fsad-bundle"),
        ({"files": {"../../etc/passwd": {"bytes": 1, "sha256": ""}}}, "unknown files"),
        ({"files": None}, "lacks a field or has a wrong one"),
        ({"image_size": [64, -1]}, "should be 2 positive integers"),
        ({"image_size": 64}, "should be 2 positive integers"),
        ({"bank": {"maximum": 0, "views": 1, "calibrated": False}}, "should be 2 positive integers"),
        ({"bank": {"maximum": 9, "views": 1, "calibrated": 1}}, "calibrated=1 should be a bool"),
        ({"bank": {"path": "/etc/passwd"}}, "lacks a field or has a wrong one"),
        ({"labelled": "yes"}, "labelled='yes' should be a bool"),
    ],
)
def test_json_of_another_make(tmp_path, changes, message):
    make_bundle(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(BundleError, match=message):
        load_bundle(tmp_path)


def test_a_bundle_of_the_first_release_is_read(tmp_path):
    """It had no ``bank``."""
    make_bundle(tmp_path)
    document = json.loads((tmp_path / "bundle.json").read_text())
    del document["bank"]
    (tmp_path / "bundle.json").write_text(json.dumps(document))
    edit(tmp_path, version=1)
    assert load_bundle(tmp_path).backends == ("onnx",)


def test_json_that_was_edited(tmp_path):
    make_bundle(tmp_path)
    edit(tmp_path, sign=False, image_score="mean")
    with pytest.raises(BundleError, match="was changed after the export"):
        load_bundle(tmp_path)


def test_another_bundle_than_expected(tmp_path):
    make_bundle(tmp_path)
    with pytest.raises(BundleError, match="is another bundle"):
        load_bundle(tmp_path, expected_digest="0" * 64)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"0" * (1 << 21)])
def test_json_that_is_none(tmp_path, content):
    (tmp_path / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError):
        load_bundle(tmp_path)


def test_no_bundle_at_all(tmp_path):
    with pytest.raises(BundleError, match="is no bundle"):
        load_bundle(tmp_path / "nowhere")


class Trap:
    def __reduce__(self):
        return (pytest.exit, ("something was unpickled",))


def test_nothing_is_unpickled(tmp_path):
    """Signed files full of pickle come to an error of the runtime, never to the unpickler."""
    make_bundle(tmp_path)
    for name in ("encoder.onnx", "scorer.onnx"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    edit(tmp_path, files={n: record_file(tmp_path / n)._asdict() for n in ("encoder.onnx", "scorer.onnx")})
    with pytest.raises(BundleError, match="onnxruntime cannot load the encoder"):
        FewShotInferencer(tmp_path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    bundle = make_bundle(tmp_path_factory.mktemp("saved"))
    return bundle, (bundle.folder / "bundle.json").read_bytes()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_damage_to_the_json_is_found_or_harmless(saved, data):
    """A changed byte is an error, unless the json still says the same."""
    whole, content = saved[0], bytearray(saved[1])
    folder, path = whole.folder, whole.folder / "bundle.json"
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    else:
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    path.write_bytes(bytes(content))
    try:
        assert load_bundle(folder) == whole
    except BundleError as error:
        assert "bundle" in str(error)  # noqa: PT017


def test_graphs_of_another_bundle(deployed, tmp_path):
    """Encoder and scorer swapped, with a json that agrees: their inputs and outputs give it away."""
    original = load_bundle(deployed.bundle)
    for name, other in (("encoder.onnx", "scorer.onnx"), ("scorer.onnx", "encoder.onnx")):
        (tmp_path / name).symlink_to(deployed.bundle / other)
    files = {name: record_file(tmp_path / name) for name in ("encoder.onnx", "scorer.onnx")}
    write_metadata(tmp_path, Metadata(**{**vars(original.metadata), "files": files}))
    with pytest.raises(BundleError, match="are expected"):
        FewShotInferencer(tmp_path)
    with pytest.raises(BundleError, match="no files for backend='openvino'"):
        FewShotInferencer(tmp_path, backend="openvino")
