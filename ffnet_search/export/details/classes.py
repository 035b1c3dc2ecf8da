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
SHOWN = 30  # classes of a confusion matrix in the card: more cannot be read
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
            sure_B, said_B = shares_BK.max(-1)
            for at in (said_B != target_B).nonzero()[:, 0].tolist():
                right, said, sure = names[int(target_B[at])], names[int(said_B[at])], float(sure_B[at])
                wrong.add(sure, partial(_tile, images_BCHW[at], right, said, sure))
        if wrong.worst:
            draw_sheet(wrong.worst, data).save(folder / SHEET)
        facts = class_facts(torch.cat(shares), torch.cat(labels), names)
        if isinstance(data, ImageData):  # of others an epoch would have to be read
            facts["trained_on"] = dict(zip(names, data.class_counts[0].tolist(), strict=True))
        return {**facts, "errors": SHEET if wrong.worst else ""}


def _tile(image_CHW: Tensor, right: str, said: str, sure: float) -> Tile:
    return Tile(image_CHW.clone(), (plain(right),), (plain(f"not {said}", percent(sure, 0)),))


def class_facts(shares_NK: Tensor, labels_N: Tensor, names: list[str]) -> dict[str, Any]:
    """Precision, recall and number of images by class, and the confusion matrix: label, then prediction."""
    count = len(names)
    confusion_KK = multiclass_confusion_matrix(shares_NK, labels_N, count)
    precision_K = multiclass_precision(shares_NK, labels_N, count, average="none")
    recall_K = multiclass_recall(shares_NK, labels_N, count, average="none")
    images_K, said_K = confusion_KK.sum(1), confusion_KK.sum(0)
    each = {
        "recall": [float(value) if images else None for value, images in zip(recall_K, images_K, strict=True)],
        "precision": [float(value) if said else None for value, said in zip(precision_K, said_K, strict=True)],
        "images": images_K.tolist(),
    }
    wrong_KK = confusion_KK - confusion_KK.diag().diag()
    most = wrong_KK.flatten().topk(min(PAIRS, count * count))
    pairs = [(names[int(at) // count], names[int(at) % count], int(n)) for n, at in zip(*most, strict=True) if n]
    matrix = {"confusion": confusion_KK.tolist()} if count <= SHOWN else {}
    return {**{key: dict(zip(names, values, strict=True)) for key, values in each.items()}, **matrix, "confused": pairs}
