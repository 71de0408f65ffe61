# SPDX-License-Identifier: Apache-2.0
"""RSNA Pneumonia Detection Challenge 2018: frontal chest films, in DICOM."""

from pathlib import Path

import pandas as pd

from anomalib_fsad.data.readers.registry import Sample, reader, to_table, without_official_split
from anomalib_fsad.data.readers.tables import read_csv, tell_absent
from anomalib_fsad.images.listing import images_in

CLASSES, LABELS = "stage_2_detailed_class_info.csv", "stage_2_train_labels.csv"

NORMAL, OPACITY = "Normal", "Lung Opacity"


@reader("rsna", (CLASSES, "stage_2_train_images"))
def read_rsna(root: Path, category: str, seed: int = 0, test_share: float = 0.3) -> pd.DataFrame:
    """Shih et al., "Augmenting the NIH Chest Radiograph Dataset with Expert Annotations of Possible Pneumonia", 2019.

    Layout: ``<root>/stage_2_detailed_class_info.csv`` (patientId, class), ``<root>/stage_2_train_labels.csv``
    (patientId, x, y, width, height, Target), ``<root>/stage_2_train_images/<patientId>.dcm``.

    Quirks: a patient with two opacities has two rows. The third class, "No Lung Opacity / Not Normal", is neither
    normal nor pneumonia and is left out. The official test images have no labels, so the split is drawn. Boxes are no
    masks and are not used as such; ``Target`` must agree with the class.

    Args:
        root: the unpacked archive.
        category: name of the set.
        seed: of the split.
        test_share: of the normal images.
    """
    files = {f.stem: f for f in images_in(root / "stage_2_train_images")}
    classes = read_csv(root / CLASSES, text=["patientId", "class"]).drop_duplicates("patientId")
    if (root / LABELS).is_file():
        boxes = read_csv(root / LABELS, text=["patientId"], numbers=["Target"])
        target = boxes.groupby("patientId")["Target"].max()
        said = classes["patientId"].map(target)
        wrong = classes[(said.notna()) & (said.astype(float) != (classes["class"] == OPACITY).astype(float))]
        if len(wrong):
            msg = f"{CLASSES} and {LABELS} disagree on {len(wrong)} patients, e.g. {wrong['patientId'].iloc[0]}."
            raise ValueError(msg)
    wanted = classes[classes["class"].isin([NORMAL, OPACITY])]
    tell_absent(root / CLASSES, wanted["patientId"].tolist(), files)
    samples = [
        Sample(files[patient], name, abnormal=name == OPACITY, split="")
        for patient, name in zip(wanted["patientId"], wanted["class"], strict=True)
        if patient in files
    ]
    return to_table(without_official_split(samples, test_share, seed, category), category)
