# SPDX-License-Identifier: Apache-2.0
"""The start-up hook in real environments and real processes: bare names work, and nothing else changes."""

import csv

import pytest
import yaml

from tests.integration.conftest import PROJECT

STARTUP_FILES = {"_anomalib_fsad_startup.py", "anomalib_fsad.pth", "anomalib_fsad.start"}
ANOMALIB = "from anomalib.cli.cli import main; main()"  # what the console script of anomalib does

PHANTOM = {
    "root": "phantom",
    "reader": "phantom",
    "reader_args": {"image_size": 64, "n_train": 6, "n_test": 2},
    "target": "fundus",
    "k_shot": 2,
    "num_workers": 0,
    "train_batch_size": 10,
    "val_images": 4,
}
SMALL = {"k_shot": 2, "backbone": "resnet18", "pre_trained": False, "image_size": 64, "max_epochs": 1}


def modules_at_start(scratch, **options) -> set[str]:
    out = scratch.run("-c", "import sys; print(' '.join(sys.modules)); print(sys.meta_path)", **options).stdout
    names, finders = out.splitlines()
    return set(names.split()) | ({"FINDER"} if "_AfterAnomalibModels" in finders else set())


def test_wheel_and_editable_put_the_hook_at_the_root(installed, new_environment):
    editable = new_environment("editable")
    editable.pip("install", "--no-deps", "--no-build-isolation", "--editable", PROJECT)
    for scratch in (installed, editable):
        assert {file.name for file in scratch.packages.iterdir()} >= STARTUP_FILES
        assert "FINDER" in modules_at_start(scratch)
        assert (scratch.packages / "anomalib_fsad.start").read_text().strip() == "_anomalib_fsad_startup:install"
    editable.pip("uninstall", "--yes", "anomalib-fsad")
    assert not [file.name for file in editable.packages.iterdir() if "fsad" in file.name]
    assert "FINDER" not in modules_at_start(editable)


def test_a_bare_interpreter_loads_nothing_but_the_hook(installed, new_environment):
    assert modules_at_start(installed) - modules_at_start(new_environment("without")) == {
        "_anomalib_fsad_startup",
        "FINDER",
    }


def test_can_be_turned_off(installed):
    assert "FINDER" not in modules_at_start(installed, env={"ANOMALIB_FSAD_AUTOLOAD": "0"})


@pytest.mark.cli
def test_train_by_bare_names(installed, tmp_path):
    arguments = ["train", "--model", "D24FAD", "--data", "MedicalFewShot"]
    for group, options in (("model", SMALL), ("data", PHANTOM)):
        for name, value in options.items():
            text = yaml.safe_dump(value, default_flow_style=True).replace("...", "").strip()
            arguments += [f"--{group}.{name}", text]
    result = installed.run("-c", ANOMALIB, *arguments, "--trainer.accelerator", "cpu", cwd=tmp_path)
    assert "image_AUROC" in result.stdout
    run = tmp_path / "results/D24FAD/MedicalFewShot/fundus/latest"
    assert (run / "weights/lightning/model.ckpt").is_file()
    assert len(list(run.rglob("images/**/*.png"))) == 4


@pytest.mark.cli
def test_names_yaml_and_benchmark(installed, tmp_path):
    config = {
        "model": {"class_path": "D24FAD", "init_args": SMALL},
        "data": {"class_path": "MedicalFewShot", "init_args": PHANTOM},
    }
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))
    cell = {
        "seed": 0,
        "model": {"class_path": "D24FAD", "init_args": {**SMALL, "lr": {"grid": [0.001, 0.0001]}}},
        "data": {"class_path": "MedicalFewShot", "init_args": PHANTOM},
    }
    (tmp_path / "benchmark.yaml").write_text(yaml.safe_dump({"accelerator": ["cpu"], "benchmark": cell}))
    code = """
import sys
from anomalib.models import get_model, list_models
from anomalib.data import get_datamodule
small = dict(backbone="resnet18", pre_trained=False)
for name in ("D24FAD", "SCRD4AD"):
    for spec in (name, {"class_path": name}, {"class_path": f"anomalib_fsad.{name}"}):
        assert type(get_model(spec, **small)).__name__ == name
slim = {"class_path": "PDD", "init_args": {"backbone": "resnet18", "second_backbone": None, "pre_trained": False}}
assert type(get_model(slim)).__name__ == "PDD"
assert {"d24_f_a_d", "s_c_r_d4_a_d", "p_d_d"} <= set(list_models())
for name in ("MedicalFewShot", "anomalib_fsad.MedicalFewShot"):
    assert type(get_datamodule({"data": {"class_path": name, "init_args": {"k_shot": 3}}})).__name__ == "MedicalFewShot"
from anomalib.cli import AnomalibCLI
cli = AnomalibCLI(args=["train", "--config", "train.yaml"], run=False)
assert type(cli.model).__name__ == "D24FAD" and type(cli.datamodule).__name__ == "MedicalFewShot"
assert cli.config.train.model.class_path == "anomalib_fsad.D24FAD", cli.config.train.model.class_path
sys.argv = ["anomalib", "benchmark", "--config", "benchmark.yaml"]
from anomalib.cli.cli import main
main()
"""
    installed.run("-c", code, cwd=tmp_path)
    # The pipeline swallows errors; only its table tells whether the cells ran.
    rows = list(csv.DictReader(next(tmp_path.glob("runs/benchmark/*/results.csv")).open()))
    assert [float(row["model.init_args.lr"]) for row in rows] == [0.001, 0.0001]
    assert all(0 <= float(row["image_AUROC"]) <= 1 for row in rows)


@pytest.mark.cli
def test_a_broken_package_warns_once_and_anomalib_goes_on(installed, tmp_path):
    (tmp_path / "anomalib_fsad").mkdir()
    (tmp_path / "anomalib_fsad/__init__.py").write_text("raise ImportError('half an installation')\n")
    code = "import anomalib.models; print(anomalib.models.Padim.__name__)"
    result = installed.run("-c", code, env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path)
    assert result.stdout.strip() == "Padim"
    assert result.stderr.count("anomalib-fsad could not be loaded") == 1
    assert "ImportError: half an installation" in result.stderr


@pytest.mark.cli
def test_module_command_needs_no_hook(installed, tmp_path):
    result = installed.run(
        "-m", "anomalib_fsad", "train", "--model.help", "D24FAD", env={"ANOMALIB_FSAD_AUTOLOAD": "0"}, cwd=tmp_path
    )
    assert "few_shot_source" in result.stdout


def test_uninstalling_leaves_nothing(new_environment, wheel):
    scratch = new_environment("removed")
    before = {file.name for file in scratch.packages.iterdir()}
    scratch.pip("install", "--no-deps", wheel)
    scratch.pip("uninstall", "--yes", "anomalib-fsad")
    assert {file.name for file in scratch.packages.iterdir()} == before
