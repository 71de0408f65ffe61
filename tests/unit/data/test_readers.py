# SPDX-License-Identifier: Apache-2.0
"""Each reader on a generated miniature of its real layout."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anomalib_fsad.data.readers import READERS
from anomalib_fsad.data.readers.discover import read_root, read_sets
from anomalib_fsad.data.readers.registry import COLUMNS, recognise, run_reader
from anomalib_fsad.data.readers.tables import LayoutError


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(path)
    return path


def pictures(folder: Path, *names: object, suffix: str = ".png") -> None:
    for name in names:
        picture(folder / f"{name}{suffix}")


def meta_json(root: Path) -> None:
    entry = {"cls_name": "brain", "specie_name": "good", "anomaly": 0, "mask_path": ""}
    pictures(root / "brain/train/good", 0, 1)
    pictures(root / "brain/test/good", 0)
    pictures(root / "brain/test/bad", 0)
    pictures(root / "brain/ground_truth", 0)
    pictures(root / "liver/train", 0)
    meta = {
        "train": {
            "brain": [{**entry, "img_path": f"brain/train/good/{i}.png"} for i in range(2)],
            "liver": [{**entry, "img_path": "liver/train/0.png"}],
        },
        "test": {
            "brain": [
                {**entry, "img_path": "brain/test/good/0.png"},
                {
                    **entry,
                    "img_path": "brain/test/bad/0.png",
                    "mask_path": "brain/ground_truth/0.png",
                    "specie_name": "bad",
                    "anomaly": 1,
                },
            ]
        },
    }
    (root / "meta.json").write_text(json.dumps(meta))


def split_json(root: Path) -> None:
    pictures(root / "images", "a", "b", "c", "d", "e", "f")
    content = {
        "train": {"0": ["a.png", "b"], "1": ["e.png"], "unlabeled": {"0": ["f.png"]}},
        "test": {"0": ["c.png"], "1": ["d.png"]},
    }
    (root / "data.json").write_text(json.dumps(content))


def aptos(root: Path) -> None:
    pictures(root / "train_images", *"abcdefghij", "0012")
    pictures(root / "test_images", "unlabelled")
    rows = [(name, 0) for name in "abcdefghij"[:6]] + [("g", 1), ("h", 4), ("i", 2), ("j", 3), ("0012", 0), ("gone", 0)]
    pd.DataFrame(rows, columns=["id_code", "diagnosis"]).to_csv(root / "train.csv", index=False)


def rsna(root: Path) -> None:
    folder = root / "stage_2_train_images"
    pictures(folder, *(f"n{i}" for i in range(5)), "o0", "o1", "x0", suffix=".dcm.png")
    for path in folder.iterdir():  # readers open no image, so the name is enough
        path.rename(path.with_suffix(""))
    classes = [(f"n{i}", "Normal") for i in range(5)] + [("o0", "Lung Opacity")] * 2 + [("o1", "Lung Opacity")]
    classes += [("x0", "No Lung Opacity / Not Normal")]
    labels = [(name, 1.0, 1.0, 2.0, 2.0, int(kind == "Lung Opacity")) for name, kind in classes]
    frame = pd.DataFrame(classes, columns=["patientId", "class"])
    frame.to_csv(root / "stage_2_detailed_class_info.csv", index=False)
    frame = pd.DataFrame(labels, columns=["patientId", "x", "y", "width", "height", "Target"])
    frame.to_csv(root / "stage_2_train_labels.csv", index=False)


def lag(root: Path) -> None:
    for label, names in (("non_glaucoma", range(5)), ("suspicious_glaucoma", range(2))):
        pictures(root / label / "image", *names, suffix=".jpg")
        pictures(root / label / "attention_map", *names, suffix=".jpg")


def brain_tumor(root: Path) -> None:
    for split in ("Training", "Testing"):
        for label in ("notumor", "glioma", "meningioma", "pituitary"):
            pictures(root / split / label, 0, 1, suffix=".jpg")


def brain_tumor_otherwise_spelt(root: Path) -> None:
    for split in ("Training", "Testing"):
        for label in ("no_tumor", "glioma_tumor", "meningioma_tumor", "pituitary_tumor"):
            pictures(root / split / label, 0, 1, suffix=".jpg")


def brain_mri(root: Path) -> None:
    for place in (root, root / "brain_tumor_dataset"):
        pictures(place / "no", *(f"{i} no" for i in range(5)), suffix=".jpeg")
        pictures(place / "yes", "Y1", "Y2", suffix=".JPG")


def head_ct(root: Path) -> None:
    pictures(root / "head_ct/head_ct", *(f"{i:03d}" for i in range(8)))
    lines = ["id, hemorrhage", *(f"{i}, {int(i < 3)}" for i in range(8))]
    (root / "labels.csv").write_text("\n".join(lines))


def zhanglab(root: Path) -> None:
    for split, n in (("train", 3), ("val", 1), ("test", 2)):
        pictures(root / "chest_xray" / split / "NORMAL", *(f"IM-{i}" for i in range(n)), "._IM-0", suffix=".jpeg")
        pictures(root / "chest_xray" / split / "PNEUMONIA", "person1_virus_1", "person2_bacteria_2", suffix=".jpeg")


def isic2018(root: Path) -> None:
    def part(name: str, kinds: list[str]) -> None:
        images = [f"ISIC_{name}_{i}" for i in range(len(kinds))]
        pictures(root / f"ISIC2018_Task3_{name}_Input", *images, suffix=".jpg")
        columns = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
        rows = pd.DataFrame([{c: float(c == kind) for c in columns} for kind in kinds])
        rows.insert(0, "image", images)
        folder = root / f"ISIC2018_Task3_{name}_GroundTruth"
        folder.mkdir()
        rows.to_csv(folder / f"{folder.name}.csv", index=False)

    part("Training", ["NV", "NV", "MEL", "NV"])
    part("Validation", ["NV", "MEL", "DF"])


def camelyon(root: Path) -> None:
    pictures(root / "train/good", 0, 1)
    for split in ("valid", "test"):
        pictures(root / split / "good/img", 2)
        for kind in ("img", "label"):
            pictures(root / split / "Ungood" / kind, 3)


def bmad_in_small_letters(root: Path) -> None:
    pictures(root / "train/good", 0, 1)
    for kind in ("img", "label"):
        pictures(root / "test/good" / kind, 2)
        pictures(root / "test/ungood" / kind, 3)


def camelyon_in_two_folders(root: Path) -> None:
    pictures(root / "normal", *range(5))
    pictures(root / "tumor", 5, 6)


def folder(root: Path) -> None:
    pictures(root / "train/good", 0, 1)
    pictures(root / "test/good", 2)
    pictures(root / "test/hole", 3)
    pictures(root / "test/crack", 3)
    pictures(root / "ground_truth/hole", "3_mask")
    pictures(root / "ground_truth/crack", 3)


# name of the reader, its miniature, (train normal, test normal, test abnormal), masks
MINIATURES: list[tuple[str, Callable[[Path], None], tuple[int, int, int], int]] = [
    ("meta_json", meta_json, (3, 1, 1), 1),
    ("split_json", split_json, (2, 1, 1), 0),
    ("aptos", aptos, (5, 2, 4), 0),
    ("rsna", rsna, (3, 2, 2), 0),
    ("lag", lag, (3, 2, 2), 0),
    ("brain_tumor", brain_tumor, (2, 2, 4), 0),
    ("brain_tumor", brain_tumor_otherwise_spelt, (2, 2, 4), 0),
    ("brain_mri", brain_mri, (3, 2, 2), 0),
    ("head_ct", head_ct, (3, 2, 3), 0),
    ("zhanglab", zhanglab, (3, 2, 2), 0),
    ("isic2018", isic2018, (3, 1, 2), 0),
    ("camelyon", camelyon, (2, 1, 1), 1),
    ("camelyon", bmad_in_small_letters, (2, 1, 1), 1),
    ("camelyon", camelyon_in_two_folders, (3, 2, 2), 0),
    ("folder", folder, (2, 1, 2), 2),
]


def counted(table: pd.DataFrame) -> tuple[int, int, int]:
    kinds = table.groupby(["split", "label_index"]).size()
    assert ("train", 1) not in kinds
    return int(kinds.get(("train", 0), 0)), int(kinds.get(("test", 0), 0)), int(kinds.get(("test", 1), 0))


@pytest.mark.parametrize(("name", "make", "counts", "masks"), MINIATURES)
def test_miniature(
    tmp_path: Path, name: str, make: Callable[[Path], None], counts: tuple[int, int, int], masks: int
) -> None:
    root = tmp_path / "SET"
    root.mkdir()
    make(root)
    table = run_reader(name, root, "SET", {})
    assert list(table.columns) == COLUMNS
    assert counted(table) == counts
    assert all(Path(path).is_file() for path in table["image_path"])
    assert table["image_path"].is_unique
    with_mask = table[table["mask_path"] != ""]
    assert len(with_mask) == masks
    assert (with_mask["label_index"] == 1).all()
    assert all(Path(path).is_file() for path in with_mask["mask_path"])
    assert not table["image_path"].str.contains("attention_map|valid|/val/|brain_tumor_dataset|_label").any()
    if name != "meta_json":
        assert set(table["category"]) == {"SET"}

    found = recognise(root)
    assert found is not None
    assert found.name == name
    assert read_root(tmp_path, "auto", {}).equals(table)
    assert read_root(root, "auto", {}).equals(table)


def test_every_reader_has_a_miniature() -> None:
    assert {name for name, *_ in MINIATURES} | {"phantom"} == set(READERS)
    for registered in READERS.values():
        assert "Layout: " in (registered.read.__doc__ or "")
        assert "Args:" in (registered.read.__doc__ or "")


def test_phantom_is_written_once(tmp_path: Path) -> None:
    options = {"image_size": 16, "n_train": 2, "n_test": 1}
    table = read_root(tmp_path / "new", "phantom", options)
    assert counted(table) == (12, 6, 6)
    assert table["category"].nunique() == 6
    times = [Path(path).stat().st_mtime_ns for path in table["image_path"]]
    again = read_root(tmp_path / "new", "phantom", options)
    assert again.equals(table)
    assert times == [Path(path).stat().st_mtime_ns for path in again["image_path"]]
    assert not read_root(tmp_path / "new", "phantom", {**options, "seed": 1}).equals(table)


def test_sets_side_by_side_are_told_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, make in (("APTOS", aptos), ("RSNA", rsna), ("LAG", lag), ("own", folder)):
        (tmp_path / name).mkdir()
        make(tmp_path / name)
    (tmp_path / "notes").mkdir()
    (tmp_path / ".hidden").mkdir()
    table = read_root(tmp_path, "auto", {})
    assert set(table["category"]) == {"APTOS", "RSNA", "LAG", "own"}
    assert "notes: no known layout, left out" in caplog.text
    assert ".hidden" not in caplog.text


def test_sets_that_lie_elsewhere(tmp_path: Path) -> None:
    for place, make in (("disk/a", aptos), ("tumors", brain_tumor), ("new", folder)):
        (tmp_path / place).mkdir(parents=True)
        make(tmp_path / place)
    sets = {
        "APTOS": {"root": str(tmp_path / "disk/a"), "reader": "aptos", "test_share": 0.5},
        "MRI": {"root": "tumors", "pituitary": True, "reader": "brain_tumor"},
        "new": {},
    }
    table = read_sets(tmp_path, sets)
    assert set(table["category"]) == set(sets)
    assert counted(table[table["category"] == "APTOS"]) == (3, 4, 4)
    assert counted(table[table["category"] == "MRI"]) == (2, 2, 6)


def test_a_drawn_split_is_seeded_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lag(tmp_path)
    with caplog.at_level(logging.INFO):
        table = run_reader("lag", tmp_path, "LAG", {})
    assert (
        "LAG has no official split: 2 of its 5 normal images, drawn with seed 0, and all abnormal ones" in caplog.text
    )
    assert run_reader("lag", tmp_path, "LAG", {}).equals(table)
    others = [run_reader("lag", tmp_path, "LAG", {"seed": seed}) for seed in range(1, 5)]
    assert any(not other.equals(table) for other in others)


def test_isic_without_validation_draws_a_split(tmp_path: Path) -> None:
    isic2018(tmp_path)
    for path in tmp_path.glob("*Validation*/*"):
        path.unlink()
    assert counted(run_reader("isic2018", tmp_path, "ISIC", {"test_share": 0.34})) == (2, 1, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda root: read_root(root, "auto", {}),
            r"holds no set in a known layout.*or name its --data\.reader, one of",
        ),
        (
            lambda root: read_root(root, "APTOS", {}),
            r"reader='APTOS' is unknown; use 'auto' or one of \['aptos', 'brain",
        ),
        (
            lambda root: read_root(root, "lag", {}),
            r"reader 'lag' cannot read '.*': no image was found where it looks\. Layout: ``<root>/\{non_glau",
        ),
        (
            lambda root: read_root(root, "lag", {"share": 1}),
            r"reader 'lag' has no option 'share'; it has \['seed', 'test_",
        ),
        (lambda root: read_root(root, "auto", {"seed": 1}), r"reader_args=\{'seed': 1\} needs a named reader"),
        (lambda root: read_root(root / "no", "auto", {}), r"root='.*no' is no folder .*--data\.root path/to/data"),
        (lambda root: read_sets(root, {"X": {"root": "."}}), r"\(X\) shows no known layout; name its reader"),
    ],
)
def test_messages(tmp_path: Path, call: Callable[[Path], object], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=f"(?s){message}"):
        call(tmp_path)


def test_rsna_whose_tables_disagree(tmp_path: Path) -> None:
    rsna(tmp_path)
    labels = tmp_path / "stage_2_train_labels.csv"
    labels.write_text(labels.read_text().replace("n0,1.0,1.0,2.0,2.0,0", "n0,1.0,1.0,2.0,2.0,1"))
    with pytest.raises(ValueError, match=r"disagree on 1 patients, e\.g\. n0"):
        run_reader("rsna", tmp_path, "RSNA", {})


def test_split_json_takes_no_mask_for_an_image(tmp_path: Path) -> None:
    split_json(tmp_path)
    pictures(tmp_path / "masks", "c", "d")
    table = run_reader("split_json", tmp_path, "X", {})
    assert {Path(path).parent.name for path in table["image_path"]} == {"images"}


def test_split_json_with_a_missing_image(tmp_path: Path) -> None:
    split_json(tmp_path)
    (tmp_path / "images/c.png").unlink()
    with pytest.raises(LayoutError, match=r"data\.json lists 'c\.png' \(test/0\), but no image has that name"):
        run_reader("split_json", tmp_path, "X", {})


def test_a_wrong_share(tmp_path: Path) -> None:
    lag(tmp_path)
    with pytest.raises(ValueError, match=r"test_share=1\.5 of set 'LAG' must lie between 0 and 1"):
        run_reader("lag", tmp_path, "LAG", {"test_share": 1.5})


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("aptos", lambda root: (root / "train.csv").unlink(), "it has no train.csv"),
        ("aptos", lambda root: (root / "train.csv").write_bytes(b""), "train.csv is no readable csv"),
        (
            "aptos",
            lambda root: (root / "train.csv").write_text("id_code,grade\na,1\n"),
            r"train.csv has no column 'diagnosis', only \['id_code', 'grade'\]",
        ),
        (
            "aptos",
            lambda root: (root / "train.csv").write_text("id_code,diagnosis\na,1\nb,bad\n"),
            "train.csv, column 'diagnosis', line 3: 'bad' is no number",
        ),
        (
            "aptos",
            lambda root: (root / "train.csv").write_text("id_code,diagnosis\na,7\n"),
            r"train.csv, column 'diagnosis', holds grades \[7\], not 0 to 4",
        ),
        ("head_ct", lambda root: (root / "labels.csv").unlink(), "it has no labels.csv"),
        ("rsna", lambda root: (root / "stage_2_detailed_class_info.csv").unlink(), "it has no stage_2_detailed"),
        ("isic2018", lambda root: [f.unlink() for f in root.rglob("*.csv")], "no image was found where it looks"),
        ("meta_json", lambda root: (root / "meta.json").unlink(), "it has no meta.json"),
        ("meta_json", lambda root: (root / "meta.json").write_text("{"), "meta.json is no readable JSON"),
        ("meta_json", lambda root: (root / "meta.json").write_text("[]"), "meta.json holds a list, not an object"),
        (
            "meta_json",
            lambda root: (root / "meta.json").write_text('{"train": {"brain": [{"img_path": "a.png"}]}}'),
            r"meta.json is not of the form below \(KeyError: 'anomaly'\)",
        ),
        ("split_json", lambda root: (root / "data.json").unlink(), "it has no data.json"),
        (
            "split_json",
            lambda root: (root / "data.json").write_text('{"train": {"0": "a.png"}}'),
            "data.json has no list of names at train/0",
        ),
    ],
)
def test_what_a_reader_does_not_find(tmp_path: Path, name: str, spoil: Callable[[Path], object], message: str) -> None:
    make = next(make for known, make, *_ in MINIATURES if known == name)
    make(tmp_path)
    spoil(tmp_path)
    pattern = rf"reader '{name}' cannot read '.*': {message}.*\. Layout: ``<root>/.*--data\."
    with pytest.raises(LayoutError, match=pattern):
        run_reader(name, tmp_path, "X", {})


@pytest.mark.parametrize("name", sorted({name for name, *_ in MINIATURES} - {"folder"}))
def test_a_reader_of_another_set_says_which_one(tmp_path: Path, name: str) -> None:
    folder(tmp_path / "own")
    with pytest.raises(LayoutError, match=r"looks like the layout of 'folder': pass --data\.reader folder, or auto"):
        run_reader(name, tmp_path / "own", "X", {})
    with pytest.raises(LayoutError, match=r"Folders in it look like folder: pass --data\.reader auto"):
        run_reader(name, tmp_path, "X", {})


def test_listed_images_that_are_not_there_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    aptos(tmp_path)
    run_reader("aptos", tmp_path, "APTOS", {})
    assert "train.csv lists 12 images, 1 of which are not there, e.g. gone" in caplog.text


@pytest.mark.parametrize("name", ["UNGOOD", "Ungood", "ungood"])
def test_bmad_in_any_case(tmp_path: Path, name: str) -> None:
    pictures(tmp_path / "Brain/train/good", 0, 1)
    for kind in ("img", "label"):
        for split in ("valid", "Test"):
            pictures(tmp_path / "Brain" / split / "good" / kind, 2)
            pictures(tmp_path / "Brain" / split / name / kind, 3)
    table = read_root(tmp_path, "auto", {})
    assert counted(table) == (2, 1, 1)
    assert (table["mask_path"] != "").sum() == 1


def test_auto_never_drops_a_test_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pictures(tmp_path / "a/train/good", 0, 1)
    read_root(tmp_path, "auto", {})
    assert "a has no test images: it can be a source, but no target" in caplog.text
    pictures(tmp_path / "a/test", 0)
    with pytest.raises(LayoutError, match=r"'folder' finds no test image in '.*a', but 'test' holds 1 image files\."):
        read_root(tmp_path, "auto", {})
    pictures(tmp_path / "a/test/good", 0)
    pictures(tmp_path / "a/test/bad/images", 0)
    with pytest.raises(LayoutError, match="the images of test/bad lie deeper"):
        read_root(tmp_path, "auto", {})


@pytest.mark.parametrize("field", ["img_path", "mask_path"])
@pytest.mark.parametrize("escape", ["../outside.png", "{outside}", "images/../../outside.png"])
def test_a_meta_json_stays_in_its_folder(tmp_path, field, escape):
    root, outside = tmp_path / "set", tmp_path / "outside.png"
    meta_json(root)
    picture(outside)
    meta = json.loads((root / "meta.json").read_text())
    entry = next(e for category in meta["test"].values() for e in category if e["anomaly"])
    entry[field] = escape.format(outside=outside)
    (root / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(LayoutError, match=r"outside\.png'?, which lies outside of its folder; outside=true"):
        run_reader("meta_json", root, "organ", {})
    rows = run_reader("meta_json", root, "organ", {"outside": True})
    column = "image_path" if field == "img_path" else "mask_path"
    assert outside.resolve() in {Path(path).resolve() for path in rows[column] if path}


@pytest.mark.parametrize("name", [7, None, "", "a\0b", "\ud800"])
def test_a_meta_json_names_files(tmp_path, name):
    meta_json(tmp_path)
    meta = json.loads((tmp_path / "meta.json").read_text())
    next(iter(meta["train"].values()))[0]["img_path"] = name
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(LayoutError, match="where the path of a file is expected"):
        run_reader("meta_json", tmp_path, "organ", {})
