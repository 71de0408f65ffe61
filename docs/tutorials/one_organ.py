# SPDX-License-Identifier: Apache-2.0
"""One organ with many normal images: a notebook as text."""

# %% [markdown]
# # One organ with many normal images
#
# Where there are dozens of normal images of an organ, a student can be trained on them. SCRD4AD's student is pulled to
# the teacher's view of an image and pushed from its view of a spoiled copy; where it fails to imitate the teacher, the
# image is unlike what it was trained on. The images are drawn, and nothing is downloaded.

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
from anomalib.engine import Engine
from PIL import Image

from anomalib_fsad import SCRD4AD, MedicalFewShot

# %% [markdown]
# ## Data
#
# `one_class` trains on the normal images of the target alone. Some of them are held out, and copies of these with
# synthetic flaws make the validation, so that no label of a test image is used.

# %%
data = MedicalFewShot(
    root="phantom",
    reader="phantom",
    reader_args={"image_size": 128, "n_train": 60, "n_test": 20},
    target="head_ct",
    protocol="one_class",
    train_batch_size=8,
    num_workers=0,
)

# %% [markdown]
# ## Training
#
# A small trained teacher and twelve epochs are enough to see it work; the paper trains a wide ResNet for 40,000 steps,
# which is what a model does that is told no length. Lesions are small here, so the score of an image is the maximum of
# its map.

# %%
model = SCRD4AD(
    backbone="tf_efficientnet_lite0",
    pre_trained=True,
    image_size=128,
    image_score="max",
    max_epochs=12,
)
quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
engine = Engine(accelerator="cpu", devices=1, default_root_dir="results", **quiet)
engine.fit(model=model, datamodule=data)

# %% [markdown]
# ## The report
#
# Testing leaves `metrics.json` beside the pictures: the metrics, what was trained on and with which seeds and versions.

# %%
engine.test(model=model, datamodule=data)
record = json.loads(next(Path("results").rglob("metrics.json")).read_text())
assert 0 <= record["metrics"]["image_AUROC"] <= 1
print(json.dumps(record["metrics"], indent=2))

# %% [markdown]
# Image AUROC tells how well the scores part normal from abnormal images, pixel AUROC the same of the map's pixels. F1
# depends on the threshold, which comes from the synthetic flaws. The pictures say where the map is right and wrong:

# %%
pictures = [file for file in sorted(Path("results").rglob("images/**/*.png")) if file.parent.name != "good"][:3]
figure, axes = plt.subplots(len(pictures), 1, figsize=(8, 7))
for axis, file in zip(axes, pictures, strict=True):
    axis.imshow(Image.open(file))
    axis.set_title(f"{file.parent.name}/{file.name}", fontsize=9)
    axis.axis("off")
