# SPDX-License-Identifier: Apache-2.0
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalib_fsad.images.decoding import (
    ImageReadError,
    is_displayable,
    needs_own_reader,
    parse_intensity,
    read_header,
    read_mask,
    read_rgb,
    to_uint8,
)

RAMP = np.linspace(0, 255, 24 * 32).reshape(24, 32).round().astype(np.uint8)


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".jpg"])
def test_grey_8_bit_is_taken_as_it_is(tmp_path: Path, suffix: str) -> None:
    image = read_rgb(save(tmp_path / f"a{suffix}", RAMP))
    assert image.shape == (24, 32, 3)
    assert image.dtype == np.float32
    assert np.abs(image[..., 0] * 255 - RAMP).max() <= (4 if suffix == ".jpg" else 1e-4)
    assert (image[..., 0] == image[..., 2]).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "1", "CMYK"])
def test_modes_equal_what_the_visualizer_shows(tmp_path: Path, mode: str) -> None:
    colour = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)
    path = save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), colour, mode)
    shown = np.asarray(Image.open(path).convert("RGB"))
    assert is_displayable(path)
    assert (to_uint8(read_rgb(path)) == shown).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bits", [12, 16])
def test_16_bit_is_scaled_by_its_real_range(tmp_path: Path, suffix: str, bits: int) -> None:
    values = np.linspace(100, 2**bits - 1, 24 * 32).reshape(24, 32).astype(np.uint16)
    path = save(tmp_path / f"a{suffix}", values)
    image = read_rgb(path)
    assert image.min() == 0
    assert image.max() == 1
    assert len(np.unique(image)) == len(np.unique(values)) > 700
    assert not is_displayable(path)


def test_float_tiff(tmp_path: Path) -> None:
    values = np.linspace(-3, 7, 24 * 32).reshape(24, 32).astype(np.float32)
    values[0, 0] = np.nan
    image = read_rgb(save(tmp_path / "a.tif", values))
    assert image[0, 0, 0] == 0
    assert np.allclose(image[-1, -1], 1)
    assert np.isfinite(image).all()


def test_intensities(tmp_path: Path) -> None:
    values = np.full((50, 50), 1000, dtype=np.uint16)
    values[:25] = 1100
    values[0, 0] = 60000
    path = save(tmp_path / "a.png", values)
    assert read_rgb(path, "minmax")[10, 10, 0] < 0.01  # the hot pixel eats the range
    assert read_rgb(path, "percentile")[10, 10, 0] == 1
    assert np.isclose(read_rgb(path, "window(1100, 400)")[10, 10, 0], 0.5)
    assert np.isclose(read_rgb(path, "window(1100,400)")[40, 10, 0], 0.25)
    assert (read_rgb(path, "auto") == read_rgb(path, "minmax")).all()


def test_a_constant_deep_image_is_black(tmp_path: Path) -> None:
    assert (read_rgb(save(tmp_path / "a.png", np.full((4, 4), 999, dtype=np.uint16))) == 0).all()


@pytest.mark.parametrize("text", ["foo", "window(1)", "window(40,0)", "window(40,-5)", "MINMAX"])
def test_wrong_intensity_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"intensity=.*is none of 'auto', 'minmax', 'percentile' and 'window"):
        parse_intensity(text)


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    upright = np.repeat(RAMP[..., None], 3, axis=2)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    path = tmp_path / "a.png"
    Image.fromarray(np.rot90(upright)).save(path, exif=exif)
    assert (to_uint8(read_rgb(path)) == upright).all()
    assert not is_displayable(path)


@pytest.mark.parametrize("intensity", ["minmax", "percentile", "window(40,80)"])
def test_8_bit_is_not_stretched(tmp_path: Path, intensity: str) -> None:
    path = save(tmp_path / "a.png", np.full((8, 8), 100, dtype=np.uint8))
    assert np.allclose(read_rgb(path, intensity), 100 / 255)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"the file is empty \(0 bytes\)"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "no PNG, JPEG, BMP, TIFF or DICOM image"),
        (b"no image at all", "no PNG, JPEG, BMP, TIFF or DICOM image, or its beginning is damaged"),
    ],
)
def test_unreadable_file_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(content)
    with pytest.raises(ImageReadError, match=rf"Cannot read image '.*scan\.png': .*{reason}"):
        read_rgb(path)


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 1, 2), (0, 85, 170, 255)])
def test_a_mask_is_all_that_is_not_zero(tmp_path: Path, values: tuple[int, ...]) -> None:
    pixels = np.array([values] * 4, dtype=np.uint8)
    assert read_mask(save(tmp_path / "mask.png", pixels)).tolist() == [[int(v > 0) for v in values]] * 4


def test_a_mask_in_jpeg_is_told_from_the_grey_around_it(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32), dtype=np.uint8)
    pixels[8:24, 8:24] = 255
    assert read_mask(save(tmp_path / "mask.jpg", pixels)).sum() == 256


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"scan{suffix}", np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageReadError, match=rf"scan\{suffix}': it is damaged or truncated"):
        read_rgb(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match=r"none\.png': there is no such file"):
        read_rgb(tmp_path / "none.png")


def test_several_pages_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    Image.fromarray(RAMP).save(path, save_all=True, append_images=[Image.fromarray(RAMP)])
    with pytest.raises(ImageReadError, match=r"stack\.tif': it holds several pages\. Save each page"):
        read_rgb(path)


def test_the_error_survives_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(ImageReadError("a.png", "why")))
    assert (error.path, str(error)) == ("a.png", "Cannot read image 'a.png': why")


def test_decoding_needs_no_torch() -> None:
    """The deployment package imports this module."""
    look = "print([m for m in ('torch', 'anomalib', 'pandas') if m in sys.modules])"
    code = f"import sys, anomalib_fsad.images.decoding; {look}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_anomalib_reads_8_bits_itself(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "a.png", RAMP, mode)
    assert needs_own_reader(path) is None
    assert read_header(path) == (32, 24, mode)


@pytest.mark.parametrize(("name", "kind"), [("a.png", np.uint16), ("a.tif", np.uint16), ("a.tif", np.float32)])
def test_deeper_images_need_a_reader_of_their_own(tmp_path: Path, name: str, kind: type) -> None:
    path = save(tmp_path / name, RAMP.astype(kind))
    reason = needs_own_reader(path)
    assert reason is not None
    assert reason.startswith("it is deeper than 8 bits (mode ")
    header = read_header(path)
    assert (header.width, header.height) == (32, 24)
    assert f"(mode {header.mode})" in reason


def test_what_cannot_be_opened_is_left_to_its_reader(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    assert needs_own_reader(tmp_path / "a.png") is None
    assert needs_own_reader(tmp_path / "none.png") is None
    assert needs_own_reader(tmp_path / "none.dcm") == "it is DICOM"


def test_headers_of_what_is_no_image(tmp_path: Path) -> None:
    pages = [Image.fromarray(RAMP), Image.fromarray(RAMP)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image")
    for name, reason in (
        ("pages.tif", "several pages"),
        ("empty.png", "is empty"),
        ("text.png", "no PNG"),
        ("no", "no such"),
    ):
        with pytest.raises(ImageReadError, match=f"{name}': .*{reason}"):
            read_header(tmp_path / name)
