# SPDX-License-Identifier: Apache-2.0
"""Thousands of broken image files: each is read or refused in words, and every file is closed again."""

import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from anomalib_fsad.deploy.images import to_rgb
from anomalib_fsad.images.decoding import ImageReadError
from tests.unit.deploy.pictures import colour, grey, write_dicom

CASES = 450
"""For each of five kinds of file."""

KINDS = {".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP", ".tif": "TIFF"}


@pytest.fixture(scope="module")
def valid(tmp_path_factory) -> dict[str, list[bytes]]:
    """Small whole files of each kind."""
    folder = tmp_path_factory.mktemp("valid")
    deep = Image.fromarray((grey(0, (16, 12)) * 4095).astype(np.uint16))
    pictures = [Image.fromarray(colour(0, (16, 12))), Image.fromarray(colour(0, (16, 12))).convert("L"), deep]
    files: dict[str, list[bytes]] = {}
    for suffix, kind in KINDS.items():
        for picture in pictures if suffix in {".png", ".tif"} else pictures[:2]:
            buffer = io.BytesIO()
            picture.save(buffer, kind, **({"compression": "tiff_deflate"} if suffix == ".tif" else {}))
            files.setdefault(suffix, []).append(buffer.getvalue())
    write_dicom(folder / "slice.dcm", grey(0, (16, 12)) * 4000)
    files[".dcm"] = [(folder / "slice.dcm").read_bytes()]
    return files


def open_files() -> set[str]:
    return {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)}  # noqa: PTH115, PTH208


def _is_open(descriptor: str) -> bool:
    return Path(f"/proc/self/fd/{descriptor}").is_symlink()


def damaged(data, content: bytes) -> bytes:
    """Cut off, overwritten in places, with bytes put in or at the end, or something else altogether."""
    how = data.draw(st.sampled_from(["cut", "overwrite", "insert", "append", "other"]))
    if how == "cut":
        return content[: data.draw(st.integers(0, len(content) - 1))]
    if how == "append":
        return content + data.draw(st.binary(max_size=200))
    if how == "other":
        return content[: data.draw(st.integers(0, 16))] + data.draw(st.binary(max_size=200))
    # Headers are where damage is understood as something else: half of the places lie there.
    places = data.draw(st.lists(st.integers(0, 63) | st.integers(0, len(content) - 1), min_size=1, max_size=4))
    changed = bytearray(content)
    for place in places:
        piece = data.draw(st.binary(min_size=1, max_size=4))
        at = min(place, len(changed) - 1)
        changed[at : at + (len(piece) if how == "overwrite" else 0)] = piece
    return bytes(changed)


@pytest.mark.parametrize("suffix", [*KINDS, ".dcm"])
def test_broken_files_are_refused_and_closed(valid, tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    counts = {"read": 0, "refused": 0}

    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(data=st.data())
    def attack(data) -> None:
        path.write_bytes(damaged(data, data.draw(st.sampled_from(valid[suffix]))))
        try:
            image = to_rgb(path)
        except ImageReadError as error:
            assert str(path) in str(error)  # noqa: PT017
            counts["refused"] += 1
        else:
            assert image.ndim == 3
            assert image.shape[2] == 3
            assert image.dtype == np.float32
            assert np.isfinite(image).all()
            assert image.min() >= 0
            assert image.max() <= 1
            counts["read"] += 1
        assert str(path) not in open_files()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attack()
    # Both ways were taken, or the attack was none.
    assert counts["read"] > 20
    assert counts["refused"] > 50


def test_an_inferencer_survives_a_bad_file(deployed, inferencer, valid, tmp_path):
    enrolment = inferencer.enroll(deployed.normals)
    before = inferencer.predict(deployed.mixed / "rgb8.png", enrolment).score
    for suffix, files in valid.items():
        path = tmp_path / f"half{suffix}"
        path.write_bytes(files[0][: len(files[0]) // 2])
        with pytest.raises(ImageReadError):
            inferencer.predict(path, enrolment)
    assert inferencer.predict(deployed.mixed / "rgb8.png", enrolment).score == before
