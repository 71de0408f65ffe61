# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pandas as pd
import pytest

from anomalib_fsad.compare.page import markdown
from anomalib_fsad.compare.reading import read_results
from anomalib_fsad.compare.report import BEGIN, END, put_into, tables, write_report
from anomalib_fsad.compare.summary import by_target, leak_worth, summarise
from tests.unit.compare.made_up import write_cell


def written(results):
    return markdown(tables(results, draws=10), Path())


@pytest.fixture
def results(tmp_path):
    """D24FAD is perfect; PatchCore errs once on seed 0 and not on seed 1; PaDiM guesses."""
    for seed, patchcore in ((0, "ONE_WRONG"), (1, "PERFECT")):
        write_cell(tmp_path, "D24FAD", "PERFECT", seed=seed, protocol="episodic")
        write_cell(tmp_path, "Patchcore", patchcore, seed=seed)
        write_cell(tmp_path, "Padim", "HALF", seed=seed)
    return tmp_path


def test_means_deviations_and_differences(results):
    summary = summarise(read_results([results]), "held_out", draws=500).set_index("model")
    patchcore, ours = summary.loc["Patchcore"], summary.loc["D24FAD"]
    assert patchcore["image_AUROC_mean"] == pytest.approx(31 / 32)
    assert patchcore["image_AUROC_std"] == pytest.approx((1 / 16) / 2**0.5)  # of two values that differ by 1/16
    assert ours["image_AUROC_std"] == 0
    assert (ours["image_AUROC_low"], ours["image_AUROC_high"]) == (1, 1)
    assert patchcore["image_AUROC_low"] < 31 / 32 < patchcore["image_AUROC_high"] + 1e-9
    assert ours["best_built_in"] == "Patchcore"
    assert ours["difference_mean"] == pytest.approx(1 / 32)
    # Paired: D24FAD never does worse on the same draw, so the interval ends at zero.
    assert ours["difference_low"] == 0
    assert 1 / 32 < ours["difference_high"] < 0.25
    assert summary.loc["Padim", "difference_mean"] == pytest.approx(0.5 - 31 / 32)
    assert pd.isna(patchcore["difference_mean"])
    assert (summary["setting"] == "K = 2").all()


def test_only_cells_that_all_have_are_compared(results):
    write_cell(results, "D24FAD", "HALF", seed=2, protocol="episodic")
    summary = summarise(read_results([results]), "held_out", draws=10).set_index("model")
    assert (summary["cells"] == 2).all()
    assert summary.loc["D24FAD", "image_AUROC_mean"] == 1


def test_a_model_without_common_cells_is_left_out_by_name(results):
    write_cell(results, "Stfpm", "PERFECT", seed=7)
    read = read_results([results])
    assert set(summarise(read, "held_out", draws=10)["model"]) == {"D24FAD", "Patchcore", "Padim"}
    assert "Stfpm(1)" in written(read)


def test_cells_that_differ_in_options_only_are_not_averaged(results):
    cell = next((results / "cells").glob("D24FAD*.json"))
    twin = cell.with_name(cell.name.replace(".json", "-other.json"))
    twin.write_bytes(cell.read_bytes())
    with pytest.raises(ValueError, match=r"2 results that differ in nothing but their options.*model D24FAD.*--out"):
        read_results([results])


def test_settings_are_apart_and_in_order(results):
    for k in (10, 4):
        write_cell(results, "Patchcore", "PERFECT", k_shot=k)
    write_cell(results, "Patchcore", "HALF", protocol="one_class", k_shot=4)
    summary = summarise(read_results([results]), "held_out", draws=10)
    assert list(summary["setting"].unique()) == ["K = 2", "K = 4", "K = 10", "one class"]


def test_what_the_leak_is_worth(results):
    write_cell(results, "Patchcore", "PERFECT", seed=0, evaluation="as_published", image_F1Score=0.9)
    worth = leak_worth(read_results([results]))
    assert len(worth) == 1
    assert worth.loc[0, "image_AUROC_gain"] == pytest.approx(1 / 16)
    assert worth.loc[0, "image_F1Score_gain"] == pytest.approx(0.4)
    assert "+6.2" in written(read_results([results]))


def test_no_leak_table_without_both_ways(results):
    assert leak_worth(read_results([results])).empty


def test_by_target(results):
    write_cell(results, "Patchcore", "HALF", target="skin")
    table = by_target(read_results([results]), "held_out").set_index(["model", "target"])
    assert table.loc[("Patchcore", "skin"), "mean"] == 0.5
    assert table.loc[("Patchcore", "lung"), "count"] == 2


def test_reads_the_csv_of_anomalibs_benchmark(tmp_path):
    rows = [
        {
            "accelerator": "cpu",
            "seed": 0,
            "model.class_path": "anomalib_fsad.D24FAD",
            "data.class_path": "MedicalFewShot",
            "data.init_args.target": "lung",
            "data.init_args.k_shot": 2,
            "data.init_args.support_seed": seed,
            "image_AUROC": auroc,
            "image_F1Score": 0.5,
        }
        for seed, auroc in ((0, 0.8), (1, 0.6))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "results.csv")
    summary = summarise(read_results([tmp_path / "results.csv"]), "held_out", draws=10)
    assert summary.loc[0, "model"] == "D24FAD"
    assert summary.loc[0, "setting"] == "K = 2"
    assert summary.loc[0, "image_AUROC_mean"] == pytest.approx(0.7)
    assert summary.loc[0, "seeds"] == 2
    assert "70.0 ± 14.1" in written(read_results([tmp_path / "results.csv"]))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        read_results([tmp_path])


def test_the_whole_report(results, tmp_path):
    write_cell(results, "Patchcore", "PERFECT", seed=0, evaluation="as_published", image_F1Score=0.9)
    document = tmp_path / "RESULTS.md"
    document.write_text("# Results\n\nProse.\n")
    for _ in range(2):  # written again, it is replaced
        write_report(read_results([results]), tmp_path / "out", document)
    text = document.read_text()
    assert text.startswith("# Results\n\nProse.")
    assert text.count(BEGIN) == text.count(END) == text.count("### K = 2") - 1 == 1
    assert "| **D24FAD** | 100.0 ± 0.0 [100.0, 100.0] |" in text
    plots = {"accuracy.png", "latency.png", "leak.png"}
    assert {f.name for f in (tmp_path / "out").iterdir()} == {
        *("summary.csv", "targets.csv", "cells.csv", "leak.csv", "report.html"),
        *plots,
    }
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<b>D24FAD</b>" in page
    assert page.count("data:image/png;base64,") == len(plots)


def test_prose_behind_the_tables_stays(tmp_path):
    document = tmp_path / "a.md"
    document.write_text(f"before\n\n{BEGIN}\nold\n{END}\nafter\n")
    put_into(document, "new")
    assert document.read_text() == f"before\n\n{BEGIN}\n\nnew\n{END}\nafter\n"
