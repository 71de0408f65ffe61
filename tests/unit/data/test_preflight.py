# SPDX-License-Identifier: Apache-2.0
"""``anomalib-fsad data``: what a folder is read as, and what would be wrong with it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anomalib_fsad.cli import main
from anomalib_fsad.data import MedicalFewShot


@pytest.fixture
def root(phantom_root: Path, tmp_path: Path) -> Path:
    """Two organs that a test may spoil."""
    for organ in ("fundus", "head_ct"):
        shutil.copytree(phantom_root / organ, tmp_path / "own" / organ)
    return tmp_path / "own"


def asked(capsys: pytest.CaptureFixture, root: Path, *options: str) -> tuple[int, dict[str, Any]]:
    status = main(["data", str(root), *options, "--json"])
    return status, json.loads(capsys.readouterr().out)


def works(found: dict[str, Any]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for verdict in found["verdicts"]:
        kinds.setdefault(verdict["target"], [])
        if verdict["works"]:
            kinds[verdict["target"]].append(verdict["protocol"])
    return kinds


def test_what_is_there(root: Path, capsys: pytest.CaptureFixture) -> None:
    (root / "notes").mkdir()
    status, found = asked(capsys, root)
    assert status == 0
    assert found["ok"]
    assert found["images"] == found["looked_at"] == 52
    assert found["not_read"] == [str(root / "notes")]
    assert found["categories"][0] == {
        "category": "fundus",
        "folder": str(root / "fundus"),
        "reader": "folder",
        "train_normal": 6,
        "test_normal": 10,
        "test_abnormal": 10,
        "masks": 10,
        "sizes": ["32 x 32"],
        "modes": ["RGB"],
    }
    assert works(found) == {name: ["episodic", "few_shot", "one_class"] for name in ("fundus", "head_ct")}


@pytest.mark.parametrize("options", [["--k-shot=6"], ["--k-shot=7"], ["--source-categories", "liver"]])
@pytest.mark.parametrize("protocol", ["episodic", "few_shot", "one_class"])
def test_it_says_what_the_datamodule_would_say(
    root: Path, capsys: pytest.CaptureFixture, options: list[str], protocol: str
) -> None:
    status, found = asked(capsys, root, "--target=fundus", f"--protocol={protocol}", *options)
    [verdict] = found["verdicts"]
    k_shot = int(options[0][-1]) if "=" in options[0] else 4
    sources = None if "=" in options[0] else ["liver"]
    data = MedicalFewShot(root, "fundus", protocol=protocol, k_shot=k_shot, source_categories=sources, num_workers=0)
    assert status == (0 if verdict["works"] else 1)
    if verdict["works"]:
        data.setup()
    else:
        with pytest.raises(ValueError, match=f"^{re.escape(verdict['problem'])}$"):
            data.setup()


def test_one_protocol_that_works_is_enough_unless_another_is_asked_for(
    root: Path, capsys: pytest.CaptureFixture
) -> None:
    status, found = asked(capsys, root / "fundus")
    assert status == 0
    assert works(found) == {"fundus": ["few_shot", "one_class"]}
    status, found = asked(capsys, root / "fundus", "--protocol=episodic")
    assert status == 1


def test_unreadable_files(root: Path, capsys: pytest.CaptureFixture) -> None:
    empty, cut = root / "fundus/test/good/0001.png", root / "head_ct/train/good/0000.png"
    empty.write_bytes(b"")
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(pixels).save(cut)
    cut.write_bytes(cut.read_bytes()[:2000])
    mask = next((root / "fundus/ground_truth").rglob("*.png"))
    mask.write_text("no mask")
    status, found = asked(capsys, root)
    assert status == 1
    assert {file["path"]: file["reason"][:17] for file in found["unreadable"]} == {
        str(empty): "the file is empty",
        str(mask): "it is no PNG, JPE",
    }
    status, found = asked(capsys, root, "--decode")
    assert {file["path"] for file in found["unreadable"]} == {str(empty), str(mask), str(cut)}


def test_a_spoilt_set_does_not_hide_the_others(root: Path, capsys: pytest.CaptureFixture) -> None:
    (root / "APTOS/train_images").mkdir(parents=True)
    (root / "APTOS/train.csv").write_text("id,grade\n")
    status, found = asked(capsys, root)
    assert status == 1
    assert [c["category"] for c in found["categories"]] == ["fundus", "head_ct"]
    assert "train.csv has no column 'id_code'" in found["problems"][0]


def test_masks_support_folders_and_copies(root: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.copyfile(root / "fundus/test/good/0003.png", root / "fundus/train/good/again.png")
    next((root / "fundus/ground_truth").rglob("*.png")).unlink()
    status, found = asked(capsys, root, "--target=fundus")
    assert status == 1
    assert all("1 of 10 abnormal images of ['fundus'] have no mask" in v["problem"] for v in found["verdicts"])
    assert "fundus: 1 training images are test images too" in found["notes"][0]
    assert asked(capsys, root, "--target=fundus", "--missing-masks=skip")[0] == 0
    source = f"--few-shot-source={root / 'head_ct/test/good'}"
    status, found = asked(capsys, root, "--target=head_ct", "--missing-masks=skip", source)
    assert all("holds 10 test images of the data" in v["problem"] for v in found["verdicts"])


def test_the_page(root: Path, capsys: pytest.CaptureFixture) -> None:
    (root / "notes").mkdir()
    (root / "fundus/test/good/0001.png").write_bytes(b"")
    assert main(["data", str(root), "--k-shot=6"]) == 1
    page = capsys.readouterr().out
    for words in (
        "read as",
        "32 x 32",
        "Cannot be read\n- ",
        "0001.png: the file is empty (0 bytes).",
        "Would not work\n- episodic, target fundus: k_shot=6: source 'head_ct' has 6",
        "Worth knowing\n- ",
        "notes: no known layout, not read",
        "few_shot, target fundus or head_ct: No normal images are left to hold out",
        "Something is wrong.",
    ):
        assert words in page
    assert main(["data", str(root), "--target=liver"]) == 2
    assert "target='liver' is unknown" in " ".join(capsys.readouterr().err.split())
    assert main(["data", str(root), "--reader=phantom"]) == 2


def test_it_needs_neither_torch_nor_anomalib(root: Path) -> None:
    code = (
        "import sys; from anomalib_fsad.cli import main; status = main(['data', sys.argv[1], '--json']);"
        "sys.exit(status or any(name in sys.modules for name in ('torch', 'anomalib', 'lightning', 'pydicom')))"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=True, capture_output=True)
