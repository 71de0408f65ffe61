# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomalib_fsad.images.decoding import ImageReadError, is_dicom, is_displayable, read_header, read_rgb

pydicom = pytest.importorskip("pydicom")

VALUES = np.linspace(0, 4000, 20 * 30).reshape(20, 30).astype(np.uint16)


def write(path: Path, pixels: np.ndarray = VALUES, **tags: Any) -> Path:
    """A DICOM file, written by pydicom."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = pixels.shape[-2:] if pixels.ndim == 2 or tags.get("NumberOfFrames") else pixels.shape[:2]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = pixels.dtype.itemsize * 8
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def test_without_a_window_the_range_is_the_image(tmp_path: Path) -> None:
    image = read_rgb(write(tmp_path / "a.dcm"))
    assert image.shape == (20, 30, 3)
    assert np.allclose(image[..., 0], VALUES / 4000, atol=1e-6)


def test_slope_intercept_and_the_own_window(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.dcm", RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=[40, 400], WindowWidth=[80, 9]
    )
    image = read_rgb(path)[..., 0]
    units = VALUES.astype(float) - 1024
    assert np.allclose(image, np.clip((units - 39.5) / 79 + 0.5, 0, 1), atol=1e-5)


def test_another_window_replaces_the_own_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=40, WindowWidth=80)
    units = VALUES.astype(float) * 2 - 1000
    assert np.allclose(read_rgb(path, "window(600,1500)")[..., 0], np.clip((units + 150) / 1500, 0, 1), atol=1e-5)
    assert np.allclose(read_rgb(path, "minmax")[..., 0], VALUES / 4000, atol=1e-5)


@pytest.mark.parametrize("function", ["SIGMOID", "LINEAR_EXACT", "LINEAR"])
def test_window_functions_agree_with_pydicom(tmp_path: Path, function: str) -> None:
    from pydicom.pixels import apply_windowing

    path = write(tmp_path / "a.dcm", WindowCenter=2000, WindowWidth=1500, VOILUTFunction=function)
    data = pydicom.dcmread(path)
    expected = apply_windowing(data.pixel_array, data) / (2**16 - 1)
    assert np.abs(read_rgb(path)[..., 0] - expected).max() < 2e-3


def test_voi_lookup_table(tmp_path: Path) -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor = [4001, 0, 16]
    table.LUTData = (65535 - np.arange(4001) * 16).astype("<u2").tobytes()
    image = read_rgb(write(tmp_path / "a.dcm", VOILUTSequence=[table]))[..., 0]
    assert np.allclose(image, (65535 - VALUES.astype(float) * 16) / 65535, atol=1e-5)


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    image = read_rgb(write(tmp_path / "a.dcm", PhotometricInterpretation="MONOCHROME1"))[..., 0]
    assert np.allclose(image, 1 - VALUES / 4000, atol=1e-6)


def test_padding_does_not_eat_the_range(tmp_path: Path) -> None:
    values = np.full((8, 8), 500, dtype=np.int16)
    values[0], values[1:4] = -2000, 700
    path = write(tmp_path / "a.dcm", values, PixelPaddingValue=-2000)
    image = read_rgb(path)[..., 0]
    assert image[0, 0] == 0
    assert image[5, 5] == 0
    assert image[2, 2] == 1


def test_colour(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 5, 3), dtype=np.uint8)
    path = write(tmp_path / "a.dcm", pixels, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    assert np.allclose(read_rgb(path), pixels / 255)


def test_it_is_known_without_a_suffix(tmp_path: Path) -> None:
    path = write(tmp_path / "IM0001")
    assert is_dicom(path)
    assert not is_displayable(path)
    assert read_rgb(path).shape == (20, 30, 3)


def test_several_frames_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "cine.dcm", np.stack([VALUES] * 3), NumberOfFrames=3)
    with pytest.raises(ImageReadError, match=r"cine\.dcm': it is a multi-frame DICOM \(3 frames\)"):
        read_rgb(path)


@pytest.mark.parametrize(("content", "reason"), [(b"", r"empty \(0 bytes\)"), (b"x" * 300, "could not decode it")])
def test_broken_files_are_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "scan.dcm"
    path.write_bytes(content)
    with pytest.raises(ImageReadError, match=rf"scan\.dcm': .*{reason}"):
        read_rgb(path)


def test_without_pydicom_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "scan.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageReadError, match=r"pip install anomalib-fsad\[dicom\]"):
        read_rgb(path)


def test_a_header_is_read_without_the_pixels(tmp_path: Path) -> None:
    assert read_header(write(tmp_path / "a.dcm")) == (30, 20, "DICOM")
    frames = np.zeros((3, 20, 30), dtype=np.uint16)
    with pytest.raises(ImageReadError, match="multi-frame DICOM \\(3 frames\\)"):
        read_header(write(tmp_path / "b.dcm", frames, NumberOfFrames=3))
    (tmp_path / "c.dcm").write_bytes(b"")
    with pytest.raises(ImageReadError, match="is empty"):
        read_header(tmp_path / "c.dcm")
