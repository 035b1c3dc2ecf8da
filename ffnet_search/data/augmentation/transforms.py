"""User-supplied transforms of training images by import path: `data.augment.transforms`.

`takes` says what a transform is called with: an image as a uint8 tensor (C, H, W), as transforms of torchvision v2 are;
`array`, by name (`image=`, and `mask=` of a task with masks), uint8 (H, W, C), as albumentations does, which returns a
dict with the same names; a `pil` image; or a `batch` as a uint8 tensor (B, C, H, W). Each image has draws of its own
from torch's, NumPy's and Python's generators, and from that of a transform that has `set_random_seed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ffnet_search.config.schema import Augment, TransformSection
from ffnet_search.data.augmentation.seeded import seed_all, seeded
from ffnet_search.errors import SweepError
from ffnet_search.plugins import check_arguments, find_class


@dataclass(frozen=True)
class Transform:
    """A user-supplied transform. `field`: its place in a sweep, for errors."""

    section: TransformSection
    call: Any
    field: str

    def __call__(
        self, pixels_BCHW: Tensor, maps_BHW: Tensor | None, key: Sequence[int], first: int
    ) -> tuple[Tensor, Tensor | None]:
        """Images, uint8 on the CPU, and their masks. `key` seeds the draws, with the place of an image in the whole
        batch, of which the first one here is `first`. Raises SweepError for a result of another kind."""
        with seeded(*key):
            if self.section.takes == "batch":
                self._seed((*key, first))
                return self._checked(self.call(pixels_BCHW), pixels_BCHW), maps_BHW
            images, masks = [], []
            for place, image_CHW in enumerate(pixels_BCHW):
                self._seed((*key, first + place))
                mask_HW = None if maps_BHW is None else maps_BHW[place]
                made_CHW, mask_HW = self._one(image_CHW, mask_HW)
                images.append(self._checked(made_CHW, image_CHW))
                masks.append(mask_HW if maps_BHW is None else self._checked(mask_HW, maps_BHW[place]))
        made_BCHW = torch.stack(images).contiguous(memory_format=torch.channels_last)
        return made_BCHW, None if maps_BHW is None else torch.stack(masks)

    def _seed(self, key: Sequence[int]) -> None:
        seed = seed_all(key)
        if hasattr(self.call, "set_random_seed"):
            self.call.set_random_seed(seed)

    def _one(self, image_CHW: Tensor, mask_HW: Tensor | None) -> tuple[Any, Any]:
        if self.section.takes == "tensor":
            return self.call(image_CHW), mask_HW
        image_HWC = np.ascontiguousarray(image_CHW.permute(1, 2, 0).numpy())
        if self.section.takes == "pil":
            made = self.call(Image.fromarray(image_HWC.squeeze(2) if len(image_CHW) == 1 else image_HWC))
            return _as_tensor(np.atleast_3d(np.asarray(made)) if isinstance(made, Image.Image) else made), mask_HW
        given = {"image": image_HWC} | ({} if mask_HW is None else {"mask": mask_HW.numpy().copy()})
        made = self.call(**given)
        made = made if isinstance(made, dict) else {"image": made}
        mask = made.get("mask")
        return _as_tensor(made.get("image")), torch.from_numpy(np.array(mask)) if isinstance(mask, np.ndarray) else mask

    def _checked(self, made: Any, given: Tensor) -> Tensor:
        if isinstance(made, Tensor) and made.dtype == given.dtype and made.shape == given.shape:
            return made.as_subclass(Tensor)
        found = f"{made.dtype} {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise SweepError(
            f"{self.field}: {self.section.class_path} must return what it is given (takes: {self.section.takes}), "
            f"{given.dtype} {tuple(given.shape)}, but returned {found}"
        )


def _as_tensor(image_HWC: Any) -> Any:
    """A tensor (C, H, W) of an array; anything else as it is."""
    if not isinstance(image_HWC, np.ndarray) or image_HWC.ndim != 3:
        return image_HWC
    return torch.from_numpy(np.array(image_HWC.transpose(2, 0, 1), order="C"))


def check_transforms(augment: Augment) -> list[type[Any]]:
    """The classes of the transforms. Raises SweepError if one does not exist, may not be imported, or does not take
    its arguments."""
    kinds = []
    for index, one in enumerate(augment.transforms):
        field = f"data.augment.transforms.{index}"
        kind = find_class(one.class_path, f"{field}.class_path")
        check_arguments(kind, one.init_args, f"{field}.init_args")
        if not any("__call__" in vars(base) for base in kind.__mro__):
            raise SweepError(f"{field}: {one.class_path} must have __call__, which is given an image, but has none")
        kinds.append(kind)
    return kinds


def make_transforms(augment: Augment) -> tuple[Transform, ...]:
    """The transforms of a sweep. Raises SweepError as `check_transforms` does."""
    made = zip(augment.transforms, check_transforms(augment), strict=True)
    return tuple(
        Transform(one, kind(**one.init_args), f"data.augment.transforms.{index}")
        for index, (one, kind) in enumerate(made)
    )
