# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomalib_fsad.images.decoding import ImageReadError, is_dicom, is_displayable, read_header, read_rgb
from anomalib_fsad.images.frames import frames_of, in_scan_order
from anomalib_fsad.images.listing import images_in

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


def test_a_file_of_several_frames_is_several_images(tmp_path: Path) -> None:
    path = write(tmp_path / "cine.dcm", np.stack([VALUES, VALUES[::-1], VALUES[:, ::-1]]), NumberOfFrames=3)
    with pytest.raises(ImageReadError, match=r"holds 3 frames: .* or name one, cine\.dcm/1 to cine\.dcm/3"):
        read_rgb(path)
    slices = frames_of(path)
    assert [str(one.relative_to(tmp_path)) for one in slices] == ["cine.dcm/1", "cine.dcm/2", "cine.dcm/3"]
    assert np.allclose(read_rgb(slices[1])[..., 0], VALUES[::-1] / 4000, atol=1e-6)
    assert read_header(slices[2]) == (30, 20, "DICOM")
    with pytest.raises(ImageReadError, match="has 3 frames, and no frame 4"):
        read_rgb(path / "4")
    with pytest.raises(ImageReadError, match="no such file"):
        read_rgb(tmp_path / "none.dcm/1")


def test_an_enhanced_file_says_for_each_frame_what_its_values_mean(tmp_path: Path) -> None:
    def group(intercept: float) -> Any:
        values, window, both = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        values.RescaleSlope, values.RescaleIntercept = 1, intercept
        window.WindowCenter, window.WindowWidth = 1000, 2001
        both.PixelValueTransformationSequence, both.FrameVOILUTSequence = [values], [window]
        return both

    path = write(
        tmp_path / "enhanced.dcm",
        np.stack([VALUES] * 2),
        NumberOfFrames=2,
        PerFrameFunctionalGroupsSequence=[group(0), group(-1000)],
    )
    for number, intercept in ((1, 0), (2, -1000)):
        expected = np.clip((VALUES.astype(float) + intercept - 999.5) / 2000 + 0.5, 0, 1)
        assert np.allclose(read_rgb(path / str(number))[..., 0], expected, atol=1e-5)


@pytest.mark.parametrize("count", [4, 2_000_000_000])
def test_more_frames_than_a_file_can_hold_are_not_listed(tmp_path: Path, count: int) -> None:
    path = write(tmp_path / "cine.dcm", np.stack([VALUES] * 3), NumberOfFrames=count)
    assert frames_of(path) == [path]
    for name in (path, path / "2"):
        with pytest.raises(ImageReadError, match=f"{count} frames"):
            read_rgb(name)


def test_slices_lie_in_the_order_of_the_scanner(tmp_path: Path) -> None:
    """Along the normal of their plane, whatever they are called; a series at the place of its first file."""
    lying = [1, 0, 0, 0, 1, 0]
    places = {"a.dcm": 7.5, "b.dcm": -2.5, "d.dcm": 2.5}
    for name, place in places.items():
        write(
            tmp_path / name, SeriesInstanceUID="1.2", ImageOrientationPatient=lying, ImagePositionPatient=[9, 9, place]
        )
    for name, number in (("e.dcm", 2), ("f.dcm", 1)):
        write(tmp_path / name, SeriesInstanceUID="1.3", InstanceNumber=number)
    (tmp_path / "c.png").touch()
    (tmp_path / "broken.dcm").write_bytes(b"x")
    paths = in_scan_order(images_in(tmp_path))
    assert [path.name for path in paths] == ["b.dcm", "d.dcm", "a.dcm", "broken.dcm", "c.png", "f.dcm", "e.dcm"]


COMPRESSED = {
    "1.2.840.10008.1.2.4.57": "JPEGLosslessProcess14",
    "1.2.840.10008.1.2.4.70": "JPEGLosslessProcess14_1",
    "1.2.840.10008.1.2.4.80": "JPEGLSLossless",
    "1.2.840.10008.1.2.4.81": "JPEGLSNearLossless",
    "1.2.840.10008.1.2.4.90": "JPEG2000Lossless",
}


def compress(path: Path, syntax: str) -> None:
    """Put a file into another transfer syntax."""
    gdcm = pytest.importorskip("gdcm")
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, COMPRESSED[syntax])))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_the_extra_reads_what_scanners_compress(tmp_path: Path, syntax: str) -> None:
    plain, path = write(tmp_path / "plain.dcm"), write(tmp_path / "a.dcm")
    cine = write(tmp_path / "cine.dcm", np.stack([VALUES, VALUES[::-1]]), NumberOfFrames=2)
    for file in (path, cine):
        compress(file, syntax)
        assert pydicom.dcmread(file).file_meta.TransferSyntaxUID == syntax
    assert np.allclose(read_rgb(path), read_rgb(plain), atol=1e-6)
    assert np.allclose(read_rgb(cine / "2"), read_rgb(plain)[::-1], atol=1e-6)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 150])
    with pytest.raises(ImageReadError, match=r"a\.dcm"):
        read_rgb(path)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80"])
def test_a_compressed_frame_that_claims_to_be_huge_is_refused(tmp_path: Path, syntax: str) -> None:
    path = write(tmp_path / "a.dcm")
    compress(path, syntax)
    size = (20).to_bytes(2, "big") + (30).to_bytes(2, "big")
    content = path.read_bytes()
    assert content.count(size) == 1
    path.write_bytes(content.replace(size, b"\xff\xff\xff\xff"))
    with pytest.raises(ImageReadError, match="says 30 x 20 pixels, but its compressed frame has 65535 x 65535"):
        read_rgb(path)


@pytest.mark.parametrize("syntax", [syntax for syntax, name in COMPRESSED.items() if "2000" not in name])
def test_without_its_decoder_the_extra_is_named(tmp_path: Path, syntax: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels import get_decoder

    path = write(tmp_path / "a.dcm")
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8 no matter what"])
    data.save_as(path)
    for name in list(get_decoder(syntax)._available):
        monkeypatch.delitem(get_decoder(syntax)._available, name)
    monkeypatch.setitem(get_decoder(syntax)._unavailable, "gdcm", ("gdcm>=3.0.10",))
    with pytest.raises(ImageReadError, match=r"compressed as JPEG.*pip install 'anomalib-fsad\[dicom-compressed\]'"):
        read_rgb(path)


def test_nothing_is_said_of_the_patient(tmp_path: Path, recwarn: pytest.WarningsRecorder, caplog: Any) -> None:
    """Not even where what is said of him is wrong, which pydicom warns of once it looks."""
    path = write(tmp_path / "a.dcm", SeriesInstanceUID="1.2")
    content = path.read_bytes()
    data = pydicom.dcmread(path)
    data.PatientName, data.PatientID = "Zoroaster^Ahura", "777-42"
    data.PatientBirthDate = "19010101"
    data.save_as(path)
    spoiled = path.read_bytes().replace(b"19010101", b"BORN1901")
    assert spoiled != content
    recwarn.clear()
    for damaged in (spoiled, spoiled[:-400]):
        path.write_bytes(damaged)
        said = []
        for call in (read_rgb, read_header, frames_of, lambda p: in_scan_order([p])):
            try:
                call(path)
            except ImageReadError as error:
                said.append(str(error))
        said += [str(warning.message) for warning in recwarn.list] + [caplog.text]
        assert not [text for text in said if any(word in text for word in ("Zoroaster", "777-42", "1901"))]


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
    with pytest.raises(ImageReadError, match="holds 3 frames"):
        read_header(write(tmp_path / "b.dcm", frames, NumberOfFrames=3))
    (tmp_path / "c.dcm").write_bytes(b"")
    with pytest.raises(ImageReadError, match="is empty"):
        read_header(tmp_path / "c.dcm")
