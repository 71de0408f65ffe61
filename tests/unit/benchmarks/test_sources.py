# SPDX-License-Identifier: Apache-2.0
"""The learning curve: which images a student is trained on."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.accuracy.sources import NORMAL, amounts, linked, plot, table_of

ORGANS = ["c", "a", "b"]


def test_first_the_images_then_the_organs_grow() -> None:
    steps = list(amounts(ORGANS, [5, 10], most=30))
    assert [step.images for step in steps] == [5, 10, 30, 30, 30]
    assert [step.organs for step in steps[2:]] == [("c",), ("a", "c"), ("a", "b", "c")]


def test_a_folder_of_links_has_the_first_images_and_the_whole_test_set(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for organ in ORGANS:
        for folder in (NORMAL, Path("test") / "good"):
            (root / organ / folder).mkdir(parents=True)
            for number in range(4):
                (root / organ / folder / f"{number}.png").touch()
    for _ in range(2):  # what is there already is no hindrance
        counts = linked(root, tmp_path / "few", 3)
    assert counts == dict.fromkeys(ORGANS, 3)
    assert sorted(path.name for path in (tmp_path / "few" / "a" / NORMAL).iterdir()) == ["0.png", "1.png", "2.png"]
    assert len(list((tmp_path / "few" / "a" / "test" / "good").iterdir())) == 4
    # The supports of a target are drawn from all that it has, whatever the sources are cut to.
    assert linked(root, tmp_path / "target", 3, whole="b") == {"a": 3, "b": 4, "c": 3}


def test_table_and_plot_have_a_point_for_each_amount() -> None:
    rows = pd.DataFrame(
        [
            {
                "curve": curve,
                "amount": amount,
                "images": 10 * amount,
                "model": "D24FAD",
                "seed": seed,
                "image_AUROC": 0.5,
            }
            for curve in ("organs", "images of each organ")
            for amount in (1, 2)
            for seed in (0, 1)
        ]
    ).assign(image_AUROC=0.5)
    table = table_of(rows)
    assert [line[:3] for line in table.lines] == [
        ["images of each organ", "1", "10"],
        ["images of each organ", "2", "20"],
        ["organs", "1", "10"],
        ["organs", "2", "20"],
    ]
    assert table.lines[0][3] == "50.0 ± 0.0"
    assert [np.size(axes.lines[0].get_xdata()) for axes in plot(rows).axes] == [2, 2]
