# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to a CPU box: a notebook as text."""

# %% [markdown]
# # From a checkpoint to a CPU box
#
# A trained D24FAD becomes a *bundle*: two graphs and a json. Where it runs, a new organ is *enrolled* with K normal
# images and predicted at once, with NumPy and OpenVINO alone.
#
# First a checkpoint. This one is trained for a minute on drawn organs; yours comes from `anomalib train`.

# %%
import csv
from pathlib import Path

import matplotlib.pyplot as plt
from anomalib.engine import Engine
from PIL import Image

from anomalib_fsad import D24FAD, MedicalFewShot
from anomalib_fsad.cli import main
from anomalib_fsad.data.phantom import write_phantom

organs = write_phantom(Path("phantom"), image_size=128, n_train=30, n_test=12)
data = MedicalFewShot(
    root=organs,
    target="fundus",
    same_category_batches=True,
    val_images=12,
    num_workers=0,
)
model = D24FAD(
    backbone="tf_efficientnet_lite0", pre_trained=True, image_size=128, support_mode="in_batch", lr=0.001, max_epochs=4
)
quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
engine = Engine(accelerator="cpu", devices=1, default_root_dir="results", **quiet)
engine.fit(model=model, datamodule=data)
checkpoint = next(Path("results").rglob("*.ckpt"))

# %% [markdown]
# ## Where torch is: export
#
# The same as `anomalib-fsad export model.ckpt bundle --format openvino` in a shell; `main` is that command.

# %%
assert main(["export", str(checkpoint), "bundle", "--format", "openvino"]) == 0
for file in sorted(Path("bundle").iterdir()):
    print(f"{file.name:12} {file.stat().st_size / 2**10:8.0f} KiB")

# %% [markdown]
# Copy that folder onto the box. There:
#
# ## Enrol an organ
#
# Eight normal fundus photographs. `--target-fpr` sets a threshold by them alone: the share of normal images that may
# exceed it.

# %%
normals = sorted((organs / "fundus/train/good").glob("*.png"))[:8]
Path("normals").mkdir()
for path in normals:
    (Path("normals") / path.name).write_bytes(path.read_bytes())
assert main(["enroll", "bundle", "normals", "fundus.npz", "--target-fpr", "0.05"]) == 0

# %% [markdown]
# ## Predict a folder
#
# `predictions.csv` has a row for each image, and `heat_maps/` a picture.

# %%
assert main(["predict", "bundle", "fundus.npz", str(organs / "fundus/test"), "out"]) == 0
with Path("out/predictions.csv").open() as file:
    rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
print(len(rows), "images;", "columns:", ", ".join(rows[0]))

pictures = sorted(Path("out/heat_maps").rglob("*.png"))
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6))
for axis, path in zip(axes, pictures[:: max(1, len(pictures) // 4)], strict=False):
    axis.imshow(Image.open(path))
    axis.set_title("/".join(path.parts[-2:]), fontsize=7)
    axis.axis("off")

# %% [markdown]
# ## In a program
#
# The same from Python, without torch or anomalib. One inferencer serves any number of threads and organs.

# %%
from anomalib_fsad.deploy import FewShotInferencer

inferencer = FewShotInferencer("bundle")
organ = inferencer.load("fundus.npz")
abnormal = next(path for path in sorted((organs / "fundus/test").rglob("*.png")) if path.parent.name != "good")
prediction = inferencer.predict(abnormal, organ)
print(f"score {prediction.score:.3f}, anomalous: {prediction.label}")

figure, (left, right) = plt.subplots(1, 2, figsize=(5, 2.6))
left.imshow(Image.open(abnormal))
right.imshow(prediction.anomaly_map, cmap="inferno")
for axis in (left, right):
    axis.axis("off")

# %% [markdown]
# [Deployment](../../anomalib_fsad/deploy/README.md) tells what is in a bundle, which threshold to take, and what is
# promised about damaged files.
