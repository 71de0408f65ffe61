# SPDX-License-Identifier: Apache-2.0
"""Made-up findings, with what file names may hold."""

from pathlib import Path

import numpy as np

from anomalib_fsad.deploy.report import Basis, Finding, NearestPatch, Support, entry_of, new_report

TITLE = "Anomalies <of> & in"
NASTY = '<img src=x onerror="document.title=1">.png'
FORMULA = "=HYPERLINK(1).png"
ENDING = "</script><script>document.title=2</script>.png"
NAMES = ("a.png", "below/b.dcm", NASTY, FORMULA, ENDING)


def heat(value: float) -> np.ndarray:
    """A map with a square of that value."""
    values = np.full((48, 64), 0.2)
    values[10:30, 20:40] = value
    return values


def finding(place: int, name: str, truth: bool | None = None) -> Finding:
    """The later, the lower its score: 0.9 and 0.8 are anomalous, the rest normal."""
    score = 0.9 - place / 10 - (place > 1) * 0.4
    mask = np.zeros((90, 120), dtype=bool)
    mask[20:50, 40:70] = bool(truth)
    return Finding(
        name=name,
        picture=np.random.default_rng(place).random((90, 120, 3), dtype=np.float32),
        heat=heat(score),
        score=score,
        raw_score=score / 10,
        label=score > 0.5,
        weights=(0.7, 0.3),
        nearest=NearestPatch(1, (0.25, 0.5, 0.5, 0.75)),
        truth=truth,
        truth_mask=mask,
    )


def basis() -> Basis:
    """With two supports, and four normals, one of which scores higher than some images."""
    picture = np.full((20, 30, 3), 90, dtype=np.uint8)
    return Basis(
        threshold=0.05,
        source="leave-one-out of 4 normal images <here>",
        caution="a guess",
        normal_scores=(0.005, 0.015, 0.025, 0.085),
        normals="the 4 enrolled normal images",
        supports=[Support("normal 1.png", picture), Support(NASTY, picture)],
        warnings=["drift 1.00: <other> images"],
        facts={"Bundle": "b" * 64},
    )


def write(path: Path, truths: tuple[bool | None, ...] = (None,) * 5) -> Path:
    """A report of five images and an unreadable file."""
    with new_report(path, len(NAMES), TITLE) as page:
        for place, (name, truth) in enumerate(zip(NAMES, truths, strict=True)):
            page.add(entry_of(finding(place, name, truth), page.side))
        page.add_unreadable(f"{NASTY}.dcm", "it is <damaged>")
        page.finish(basis())
    return path
