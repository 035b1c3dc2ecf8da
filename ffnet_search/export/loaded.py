"""An exported network in Python, with the preprocessing of its training and the names of its outputs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ffnet_search.data.image_file import centre_box, fitted, prepare, read_whole, to_mode
from ffnet_search.errors import SweepError
from ffnet_search.models.deployed import Deployed
from ffnet_search.tasks.base import task_of

File = str | os.PathLike[str]


class LoadedNetwork(Deployed):
    """A deployed network, normalised images (B, channels, H, W) -> outputs, with preprocessing and output names."""

    def __init__(self, net: Deployed, facts: Mapping[str, Any]) -> None:
        super().__init__(net.arch, list(net.parts))
        self.facts = dict(facts)  # `input` of card.json

    @property
    def classes(self) -> Sequence[str]:
        """The names of the outputs: classes, labels or numbers."""
        task = task_of(self.arch.input)
        return tuple(self.facts.get(task.outputs_word, ())) if task.names_outputs else ()

    def preprocess(self, image: File | Image.Image) -> Tensor:
        """An image as the network takes it: normalised float32 (1, channels, H, W).

        A file is read exactly as for training: turned as its EXIF says, 8 bits, cut and resized. Raises SweepError if
        the normalisation is unknown, since the data of the network were of a user-supplied module."""
        if "mean" not in self.facts:
            raise SweepError(f"{self.arch.key}: its data came from a user-supplied module; prepare images as that does")
        mode, size = "L" if self.arch.input.channels == 1 else "RGB", self.arch.input.size
        task = task_of(self.arch.input)
        if task.any_size:
            turned = image if isinstance(image, Image.Image) else read_whole(image, mode)
            turned = to_mode(ImageOps.exif_transpose(turned), mode)
            pixels_HWC = np.asarray(turned).reshape(turned.height, turned.width, -1)
        elif isinstance(image, Image.Image):
            turned = to_mode(ImageOps.exif_transpose(image), mode)
            ratio = size[0] / size[1]
            box = (
                (0.0, 0.0, float(turned.width), float(turned.height)) if task.whole else centre_box(*turned.size, ratio)
            )
            pixels_HWC = fitted(turned, size, box)
        else:
            pixels_HWC = prepare(image, mode, size, task.whole)
        normal_HWC = (pixels_HWC.astype(np.float32) - self.facts["mean"]) / self.facts["std"]
        return torch.from_numpy(normal_HWC.transpose(2, 0, 1)[None].astype(np.float32))

    @torch.inference_mode()
    def predict(self, image: File | Image.Image) -> Any:
        """Class -> probability, the likeliest first; of segmentation the class of each pixel, (H, W), of
        super-resolution the larger photo, uint8 (H, W, C); of other tasks output -> value: the probability of a label,
        a number."""
        device = next(self.parameters()).device
        output = self.train(False)(self.preprocess(image).to(device))[0].float().cpu()
        task = task_of(self.arch.input)
        if task.any_size:
            return output.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        if output.ndim > 1:
            return output.argmax(0).numpy().astype(np.uint8)
        if task.name == "classification":
            output = output.softmax(-1)
        elif task.name == "multilabel":
            output = output.sigmoid()
        values = dict(zip(self.classes, output.tolist(), strict=True))
        if task.name == "regression":
            return values
        return dict(sorted(values.items(), key=lambda item: -item[1]))
