"""Weights of the classes of masks, by their pixels, and of labels, by the images that have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from masks import mask_sweep, write_masks
from PIL import Image
from tables import table_sweep, write_rows

from ffnet_search.autoconfig.inspect import inspect
from ffnet_search.autoconfig.inspect_table import inspect_table
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.modules.image_data import ImageData
from ffnet_search.errors import SweepError
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.tasks.base import find_task, task_of
from ffnet_search.tasks.segmentation import IGNORE
from ffnet_search.training.fit import sweep_data, train_architecture, train_supernet
from ffnet_search.training.losses import class_weights

MASKS, LABELS = find_task("segmentation"), find_task("multilabel")


def write_labels(root: Path, count: int = 120) -> Path:
    """Grey noise that tells nothing: two images of three are 'common', one in twelve 'rare'."""
    rng, rows = np.random.default_rng(0), []
    root.mkdir(parents=True)
    for number in range(count):
        rare = number % 12 == 0
        pixels_HW = rng.normal(110, 40, (16, 16)).clip(0, 255).astype(np.uint8)
        Image.fromarray(np.repeat(pixels_HW[..., None], 3, 2)).save(root / f"{number}.png")
        rows.append({"file": f"{number}.png", "common": int(number % 3 > 0), "rare": int(rare)})
    return write_rows(root / "table.csv", rows, ["file", "common", "rare"])


def with_outputs(sweep: Sweep, outputs: int, **sections: Any) -> Sweep:
    space = sweep.search_space.model_dump(mode="json", exclude_none=True)
    space["input"][task_of(sweep.search_space.images).outputs_word] = outputs
    content = sweep.model_dump(mode="json", exclude_defaults=True)
    return Sweep.from_content({**content, "search_space": space, **sections}, sweep.files.folder.parent / "x.yaml")


def labels_sweep(place: Path, **sections: Any) -> Sweep:
    return with_outputs(table_sweep(place / "runs", write_labels(place / "data"), "multilabel"), 2, **sections)


def test_pixels_are_counted_without_those_that_count_nowhere(tmp_path: Path) -> None:
    data = sweep_data(mask_sweep(tmp_path / "runs", write_masks(tmp_path / "data", 30)))
    assert isinstance(data, ImageData)
    masks_NHW = torch.cat([target_BHW for _, target_BHW in data.train_dataloader()])
    pixels_K = torch.tensor([(masks_NHW == label).sum() for label in range(3)])
    has_K, lacks_K = data.class_counts
    assert (has_K / has_K.sum()).allclose(pixels_K / pixels_K.sum(), atol=0.03), "a last batch is left out"
    assert (has_K + lacks_K == has_K.sum()).all()
    masks_BHW = torch.tensor([[[0, 0, 1], [IGNORE, IGNORE, 2]]], dtype=torch.uint8)
    assert MASKS.class_counts(masks_BHW, 4).tolist() == [[2, 1, 1, 0], [2, 3, 3, 4]]
    balanced, auto = (class_weights(word, data, MASKS) for word in ("balanced", "auto"))
    assert (balanced * has_K).allclose(has_K.sum() / torch.full((3,), 3.0))
    assert auto.argsort().equal(balanced.argsort()) and auto.max() < balanced.max()


def test_a_class_without_a_pixel_weighs_one(tmp_path: Path) -> None:
    """It occurs in no loss but by label smoothing, which a huge weight would rule."""
    (write_masks(tmp_path / "data", 30) / "classes.txt").write_text("a\nb\nc\nd\n")
    data = sweep_data(with_outputs(mask_sweep(tmp_path / "runs", tmp_path / "data"), 4))
    for wanted in ("balanced", "auto", {"b": 3.0}):
        weights_K = class_weights(wanted, data, MASKS)  # type: ignore[arg-type]
        has_K = data.class_counts[0]
        assert weights_K[3] == 1 and (weights_K * has_K).sum() == pytest.approx(float(has_K.sum()), rel=1e-5)
    with pytest.raises(SweepError, match=r"train.class_weights: 'e' is none of the classes of the data"):
        class_weights({"e": 2.0}, data, MASKS)


def test_a_rare_class_counts_more_in_the_loss_of_masks() -> None:
    output_BKHW, mask_BHW = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8)
    output_BKHW[:, 0] = 2.0
    mask_BHW[0, 0, 0], mask_BHW[0, 3] = 2, IGNORE
    weights_K = torch.tensor([1.0, 1.0, 9.0])
    assert MASKS.weighted_loss(output_BKHW, mask_BHW, 0.0, weights_K) > MASKS.loss(output_BKHW, mask_BHW, 0.0) + 0.5
    for smoothing in (0.0, 0.1):
        plain = MASKS.loss(output_BKHW, mask_BHW, smoothing)
        assert MASKS.weighted_loss(output_BKHW, mask_BHW, smoothing, torch.ones(3)).allclose(plain)
    nothing_BHW = torch.full_like(mask_BHW, IGNORE)
    assert MASKS.weighted_loss(output_BKHW, nothing_BHW, 0.0, weights_K) == 0


def test_labels_weigh_by_those_that_have_them(tmp_path: Path) -> None:
    data = sweep_data(labels_sweep(tmp_path))
    has_K, lacks_K = data.class_counts
    balanced, auto = (class_weights(word, data, LABELS) for word in ("balanced", "auto"))
    assert balanced.allclose(lacks_K / has_K) and auto.allclose(balanced.sqrt()) and balanced[1] > 8
    assert class_weights({"rare": 4.0}, data, LABELS).tolist() == [1.0, 4.0]
    output_BK, target_BK = torch.full((4, 2), -2.0), torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    plain = LABELS.loss(output_BK, target_BK, 0.0)
    assert LABELS.weighted_loss(output_BK, target_BK, 0.0, torch.tensor([1.0, 9.0])) > plain + 0.5
    assert LABELS.weighted_loss(output_BK, target_BK, 0.1, torch.ones(2)).equal(LABELS.loss(output_BK, target_BK, 0.1))


def test_weights_raise_the_probability_of_a_rare_class_in_masks() -> None:
    """Where nothing tells the classes apart, the loss alone decides: one logit a class is learnt for all pixels."""
    mask_BHW = torch.zeros(2, 16, 16, dtype=torch.uint8)
    mask_BHW[:, :4, :4], mask_BHW[:, 12:] = 1, IGNORE
    shares = []
    for weights_K in (torch.ones(2), torch.tensor([0.5, 6.0])):
        logits_K = torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.Adam([logits_K], 0.1)
        for _ in range(100):
            optimizer.zero_grad()
            MASKS.weighted_loss(logits_K[None, :, None, None].expand(2, 2, 16, 16), mask_BHW, 0.0, weights_K).backward()
            optimizer.step()
        shares.append(float(logits_K.detach().softmax(0)[1]))
    assert shares[1] > shares[0] + 0.2


@torch.no_grad()
def test_a_network_expects_a_rare_label_as_often_as_not(tmp_path: Path) -> None:
    """The mean probability of a label of one image in twelve, of a network whose images tell nothing."""
    sweep, expected = labels_sweep(tmp_path, train={"epochs": 6, "learning_rate": 0.05}), []
    for weights in ("none", "balanced"):
        data, recipe = sweep_data(sweep), sweep.train.model_copy(update={"class_weights": weights})
        torch.manual_seed(0)
        net = MetaMixer(sweep.search_space.smallest, recipe.form)
        with torch.enable_grad():
            net = train_architecture(net, data, recipe, sweep.files.folder / weights, 0).eval()
        outputs = [net(x_BCHW, net.largest)[:, 1] for x_BCHW, _ in data.train_dataloader()]
        expected.append(float(torch.cat(outputs).sigmoid().mean()))
    assert expected[1] > expected[0] + 0.15, expected


def test_a_run_weighs_the_classes_of_masks(tmp_path: Path) -> None:
    """By the sweep, in the supernet's training."""
    sweep = mask_sweep(
        tmp_path / "runs", write_masks(tmp_path / "data", 24), train={"epochs": 1, "class_weights": "balanced"}
    )
    assert train_supernet(sweep).exists()


def test_init_tells_of_uneven_masks_and_labels(tmp_path: Path) -> None:
    table = inspect_table(write_labels(tmp_path / "labels"))
    assert table.task == "multilabel" and table.is_uneven
    assert any("labels are rare (one of 10 of 120 images)" in line for line in table.warnings)
    folder = write_masks(tmp_path / "masks", 12)
    assert not inspect(folder).is_uneven and not any("uneven" in line for line in inspect(folder).warnings)
    for path in (folder / "masks").iterdir():
        with Image.open(path) as mask:
            ids_HW = np.array(mask)
        ids_HW[1:, 1:] = 0
        ids_HW[0, 0] = 1
        Image.fromarray(ids_HW).save(path)
    uneven = inspect(folder)
    assert uneven.is_uneven and any(
        "classes are uneven" in line and "of the pixels" in line for line in uneven.warnings
    )
