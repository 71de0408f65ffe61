# SPDX-License-Identifier: Apache-2.0
from anomalib_fsad.images.seeds import generator


def test_each_purpose_has_a_stream_of_its_own() -> None:
    purposes = [(0,), (1,), (0, "order", 0), (0, "order", 1), (0, "episode", 0, 0), (0, "episode", 1, 0)]
    purposes += [(0, "episode", 0, 1), (0, "validation", "a"), (0, "validation", "b"), (1, "validation", "a")]
    drawn = {tuple(generator(*purpose).integers(2**31, size=4).tolist()) for purpose in purposes}
    assert len(drawn) == len(purposes)
