# SPDX-License-Identifier: Apache-2.0
import base64

import pandas as pd

from anomalib_fsad.compare.page import Heading, Picture, Table, Text, html_page, markdown


def test_one_page_in_two_forms(tmp_path):
    picture = tmp_path / "plots" / "a.png"
    picture.parent.mkdir()
    picture.write_bytes(b"pixels")
    frame = pd.DataFrame({"model": ["A", "B"], "AUROC": [0.123456, float("nan")]})
    blocks = [Heading("Title", 1), Text("By `a < b`, **bold**."), Table.of(frame), Picture(picture, "plot")]
    text = markdown(blocks, tmp_path / "docs")
    assert text.startswith(
        "# Title\n\nBy `a < b`, **bold**.\n\n| model | AUROC |\n| --- | --- |\n| A | 0.123 |\n| B | - |"
    )
    assert text.endswith("![plot](../plots/a.png)\n")
    page = html_page("Title", blocks)
    assert "<p>By <code>a &lt; b</code>, <b>bold</b>.</p>" in page
    assert "<tr><td>A</td><td>0.123</td></tr>" in page
    assert f"data:image/png;base64,{base64.b64encode(b'pixels').decode()}" in page
    assert "src=" in page
    assert str(tmp_path) not in page  # it needs no other file
