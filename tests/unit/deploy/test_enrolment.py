# SPDX-License-Identifier: Apache-2.0
"""Enrolments on disk: what was saved comes back, and nothing else."""

import dataclasses
import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomalib_fsad.deploy import BundleError, Enrolment
from anomalib_fsad.deploy.enrolment import NORMALS


def small_enrolment(seed=0, count=3):
    rng = np.random.default_rng(seed)
    return Enrolment(
        maps=tuple(rng.random((count, 2 * s, 4 // s, 4 // s), dtype=np.float32) for s in (1, 2, 4)),
        names=tuple(f"normal {k}.png" for k in range(count)),
        bundle="b" * 64,
        normal_scores=rng.uniform(0.1, 0.3, count),
        normal_peaks=rng.uniform(0.1, 0.3, count),
        normal_levels=rng.uniform(0.01, 0.03, count),
    )


def same(a, b):
    pairs = [*zip(a.maps, b.maps, strict=True), *((getattr(a, name), getattr(b, name)) for name in NORMALS)]
    plain = (a.names, a.bundle, a.threshold, a.map_threshold) == (b.names, b.bundle, b.threshold, b.map_threshold)
    return plain and all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in pairs)


@pytest.mark.parametrize("target", [None, 0.05, 0.3])
def test_round_trip(tmp_path, target):
    enrolment = small_enrolment().with_threshold(target)
    loaded = Enrolment.load(enrolment.save(tmp_path / "new/organ.npz"))
    assert same(loaded, enrolment)
    assert loaded.digest == enrolment.digest != small_enrolment(seed=1).with_threshold(target).digest
    assert (loaded.threshold is None) == (target is None)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["organ.npz"]
    # numpy alone can read it, without pickle.
    with np.load(tmp_path / "new/organ.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["map_1"], enrolment.maps[0])


def test_scores_predictions_as_before(deployed, inferencer, tmp_path):
    enrolment = inferencer.enroll(deployed.normals, target_fpr=0.1)
    before = inferencer.predict(deployed.mixed / "rgb8.png", enrolment)
    after = inferencer.predict(deployed.mixed / "rgb8.png", inferencer.load(enrolment.save(tmp_path / "organ.npz")))
    assert (after.score, after.label) == (before.score, before.label)


def test_of_another_bundle(deployed, inferencer, tmp_path):
    enrolment = inferencer.enroll(deployed.normals)
    other = dataclasses.replace(enrolment, bundle="c" * 64)
    with pytest.raises(BundleError, match=r"organ\.npz' was made with another bundle"):
        inferencer.load(other.save(tmp_path / "organ.npz"))
    with pytest.raises(BundleError, match="This enrolment was made with another bundle"):
        inferencer.predict(deployed.mixed / "rgb8.png", other)
    narrow = dataclasses.replace(enrolment, maps=tuple(m[:, :, :2] for m in enrolment.maps))
    with pytest.raises(BundleError, match="holds maps of"):
        inferencer.load(narrow.save(tmp_path / "organ.npz"))


def rewrite(path, **entries):
    """Replace entries of the archive, as somebody would who swaps arrays."""
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **{**content, **entries})


def test_swapped_arrays(tmp_path):
    path = small_enrolment().save(tmp_path / "organ.npz")
    rewrite(path, map_1=small_enrolment(seed=1).maps[0])
    with pytest.raises(BundleError, match="not those it was saved with"):
        Enrolment.load(path)


def test_edited_metadata_and_other_versions(tmp_path):
    path = small_enrolment().save(tmp_path / "organ.npz")
    with np.load(path) as arrays:
        document = json.loads(arrays["metadata"].tobytes())
    for change, message in (({"target_fpr": 0.4}, "digest differs"), ({"version": 9}, "has version 9")):
        text = json.dumps({**document, **change}).encode()
        rewrite(path, metadata=np.frombuffer(text, dtype=np.uint8))
        with pytest.raises(BundleError, match=message):
            Enrolment.load(path)


def test_pickled_objects_are_refused(tmp_path):
    path = tmp_path / "organ.npz"
    np.savez(path, metadata=np.array([{"format": "anomalib-fsad-enrolment"}], dtype=object))
    with pytest.raises(BundleError, match="is no enrolment, or is damaged"):
        Enrolment.load(path)


def test_compressed_archives_are_refused(tmp_path):
    """No bomb: an entry is never larger than the file."""
    path = tmp_path / "organ.npz"
    np.savez_compressed(path, metadata=np.zeros(10_000_000, dtype=np.uint8))
    assert path.stat().st_size < 100_000
    with pytest.raises(BundleError, match="is compressed or too large"):
        Enrolment.load(path)


def test_other_files(tmp_path):
    with pytest.raises(BundleError, match="cannot be read"):
        Enrolment.load(tmp_path / "nothing.npz")
    for name, content in (("empty.npz", b""), ("text.npz", b"organ"), ("zip.npz", _zip({"a.txt": b"a"}))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BundleError, match="is no enrolment"):
            Enrolment.load(tmp_path / name)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    enrolment = small_enrolment().with_threshold(0.05)
    return enrolment, enrolment.save(tmp_path_factory.mktemp("saved") / "organ.npz").read_bytes()


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_found_or_harmless(saved, tmp_path, data):
    whole, content = saved[0], bytearray(saved[1])
    path = tmp_path / "organ.npz"
    if data.draw(st.booleans()):
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
            content[place] = data.draw(st.integers(0, 255))
    else:
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    path.write_bytes(bytes(content))
    try:
        loaded = Enrolment.load(path)
    except BundleError as error:
        assert "organ.npz" in str(error)  # noqa: PT017
    else:
        assert same(loaded, whole)


def _zip(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()
