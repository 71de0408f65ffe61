# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from PIL import Image

from anomalib_fsad.compare.mistakes import EACH, SIDE, mistakes
from anomalib_fsad.compare.page import html_page, markdown
from anomalib_fsad.compare.reading import Mistakes, read_mistakes, read_results
from tests.unit.compare.made_up import write_cell


@pytest.fixture
def worst(tmp_path):
    """Ten images, as bright as their number; the last five are abnormal; the maps are flat."""
    paths = [str(tmp_path / f"{i}.png") for i in range(10)]
    for i, path in enumerate(paths):
        Image.fromarray(np.full((20, 30), 20 * i, dtype=np.uint8)).save(path)
    scores = torch.tensor([0.1, 0.9, 0.3, 0.2, 0.5, 0.6, 0.05, 0.8, 0.7, 0.4])
    return mistakes(paths, scores, torch.tensor([0] * 5 + [1] * 5), scores[:, None, None].expand(10, 4, 4))


def test_normal_images_of_the_highest_scores_then_abnormal_of_the_lowest(worst):
    assert list(worst.names) == [f"{i}.png" for i in (1, 4, 2, 6, 9, 5)]
    assert worst.labels.tolist() == [0] * EACH + [1] * EACH
    assert worst.ranks.tolist() == pytest.approx([0.9, 0.5, 0.3, 0, 0.4, 0.6])
    assert worst.maps[0].max() == pytest.approx(1)  # in units of the highest on a normal image
    assert worst.pictures.shape == (2 * EACH, SIDE, SIDE, 3)
    assert worst.pictures[1].mean() == pytest.approx(80, abs=1)


def test_they_are_shown_on_the_page_alone(worst, tmp_path):
    from anomalib_fsad.compare.mistake_plots import mistake_blocks

    write_cell(tmp_path, "D24FAD", "PERFECT")
    assert mistake_blocks(read_results([tmp_path])) == []
    (file,) = (tmp_path / "cells").glob("*.npz")
    content = dict(np.load(file))
    np.savez(file, **content, **{f"worst_{name}": value for name, value in worst._asdict().items()})
    kept = read_mistakes(file)
    assert isinstance(kept, Mistakes)
    assert (kept.pictures == worst.pictures).all()
    blocks = mistake_blocks(read_results([tmp_path]))
    assert "lung, K = 2" in html_page("Results", blocks)
    assert "data:image/png" in html_page("Results", blocks)
    assert "png" not in markdown(blocks, tmp_path)
