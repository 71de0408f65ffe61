# SPDX-License-Identifier: Apache-2.0
"""Series and files of several frames through ``predict``: a line for each slice, in the scanner's order, no patient."""

import csv

import numpy as np
import pydicom

from anomalib_fsad.cli import main
from anomalib_fsad.deploy import FewShotInferencer
from anomalib_fsad.deploy.images import images_at
from tests.unit.deploy.pictures import grey, write_dicom

PATIENT = {"PatientName": "Zoroaster^Ahura", "PatientID": "777-42", "PatientBirthDate": "19010101"}


def tag(path, **elements):
    data = pydicom.dcmread(path)
    for name, value in {**PATIENT, **elements}.items():
        setattr(data, name, value)
    data.save_as(path)


def write_study(folder):
    folder.mkdir()
    for number in (3, 2, 1):
        path = folder / f"slice_{4 - number}.dcm"
        write_dicom(path, grey(number, (48, 40)) * 4000)
        position = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, number]}
        tag(path, SeriesInstanceUID="1.2", **position)
    write_dicom(folder / "cine.dcm", grey(4, (48, 40)) * 4000)
    frames = np.stack([grey(seed, (48, 40)) * 4000 for seed in (4, 5)]).astype(np.uint16)
    tag(folder / "cine.dcm", SeriesInstanceUID="1.3", NumberOfFrames=2, PixelData=frames.tobytes())
    return folder


def test_a_study(toy, tmp_path, capsys):
    study, organ, out = write_study(tmp_path / "study"), tmp_path / "organ.npz", tmp_path / "out"
    assert len(images_at(study)) == 5
    assert [path.name for path in images_at(study / "cine.dcm")] == ["1", "2"]
    assert main(["enroll", str(toy.folder), str(study), str(organ)]) == 0
    assert len(FewShotInferencer(toy.folder).load(organ)) == 5
    page = tmp_path / "report.html"
    assert main(["predict", str(toy.folder), str(organ), str(study), str(out), "--report", str(page)]) == 0
    with (out / "predictions.csv").open(newline="") as file:
        rows = [row["image"] for row in csv.DictReader(file)]
    assert rows == ["cine.dcm/1", "cine.dcm/2", "slice_3.dcm", "slice_2.dcm", "slice_1.dcm"]
    assert (out / "heat_maps/cine.dcm/2.png").is_file()
    written = [path for path in (*out.rglob("*"), page, organ) if path.is_file()]
    everything = b"".join(path.read_bytes() for path in written) + "".join(capsys.readouterr()).encode()
    assert len(written) == 9
    assert not [value for value in PATIENT.values() if value.encode() in everything]
