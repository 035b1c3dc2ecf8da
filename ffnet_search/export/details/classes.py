"""Details of an exported classifier: precision and recall of each class on test, the confusion of classes, and its most
confident errors.

`errors.png` shows the errors, each with its label and the prediction. Shape keys: N images, K classes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multiclass_precision,
    multiclass_recall,
)

from ffnet_search.data.modules.base import Data
from ffnet_search.data.modules.image_data import ImageData
from ffnet_search.export.details.sheet import Tile, draw_sheet, plain
from ffnet_search.export.details.worst_images import WorstImages
from ffnet_search.formatting import percent
from ffnet_search.models.deployed import Deployed

SHEET = "errors.png"
ERRORS = 20  # that are shown
MAX_CONFUSION_CLASSES = 30  # classes of a confusion matrix in the card: more cannot be read
PAIRS = 20  # of classes that are confused most


class ClassDetails:
    """Called with an exported folder, its network and the data; returns facts for the card."""

    @torch.inference_mode()
    def __call__(self, folder: Path, net: Deployed, data: Data) -> dict[str, Any]:
        device, names = next(net.parameters()).device, list(data.outputs)
        shares, labels, wrong = [], [], WorstImages[Tile](ERRORS)
        for images_BCHW, target_B in data.test_dataloader():
            shares_BK = net(images_BCHW.to(device)).softmax(-1).cpu()
            shares.append(shares_BK)
            labels.append(target_B)
            confidence_B, predicted_B = shares_BK.max(-1)
            for index in (predicted_B != target_B).nonzero()[:, 0].tolist():
                label, predicted = names[int(target_B[index])], names[int(predicted_B[index])]
                confidence = float(confidence_B[index])
                wrong.add(confidence, partial(_tile, images_BCHW[index], label, predicted, confidence))
        if wrong.worst:
            draw_sheet(wrong.worst, data).save(folder / SHEET)
        facts = class_facts(torch.cat(shares), torch.cat(labels), names)
        if isinstance(data, ImageData):  # of others an epoch would have to be read
            facts["trained_on"] = dict(zip(names, data.class_counts[0].tolist(), strict=True))
        return {**facts, "errors": SHEET if wrong.worst else ""}


def _tile(image_CHW: Tensor, label: str, predicted: str, confidence: float) -> Tile:
    return Tile(image_CHW.clone(), (plain(label),), (plain(f"not {predicted}", percent(confidence, 0)),))


def class_facts(shares_NK: Tensor, labels_N: Tensor, names: list[str]) -> dict[str, Any]:
    """Precision, recall and number of images by class, and the confusion matrix: label, then prediction."""
    count = len(names)
    confusion_KK = multiclass_confusion_matrix(shares_NK, labels_N, count)
    precision_K = multiclass_precision(shares_NK, labels_N, count, average="none")
    recall_K = multiclass_recall(shares_NK, labels_N, count, average="none")
    images_K, predicted_K = confusion_KK.sum(1), confusion_KK.sum(0)
    each = {
        "recall": [float(value) if images else None for value, images in zip(recall_K, images_K, strict=True)],
        "precision": [float(value) if count else None for value, count in zip(precision_K, predicted_K, strict=True)],
        "images": images_K.tolist(),
    }
    wrong_KK = confusion_KK - confusion_KK.diag().diag()
    most = wrong_KK.flatten().topk(min(PAIRS, count * count))
    cells = [(divmod(int(index), count), int(images)) for images, index in zip(*most, strict=True) if images]
    pairs = [(names[label], names[predicted], images) for (label, predicted), images in cells]
    matrix = {"confusion": confusion_KK.tolist()} if count <= MAX_CONFUSION_CLASSES else {}
    return {**{key: dict(zip(names, values, strict=True)) for key, values in each.items()}, **matrix, "confused": pairs}
