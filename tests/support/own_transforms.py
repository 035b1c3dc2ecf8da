"""Users' own changes of training images, as `data.augment.transforms` names them."""

import random

import numpy as np
import torch
from PIL import Image, ImageOps


class Speckle(torch.nn.Module):
    """Noise on a uint8 image (C, H, W), drawn from all three generators."""

    def __init__(self, spread=8.0):
        super().__init__()
        self.spread = spread

    def forward(self, image_CHW):
        drawn = torch.from_numpy(np.random.randn(*image_CHW.shape[1:]))  # noqa: NPY002  (as many libraries draw)
        noise = torch.randn(image_CHW.shape[1:]) + drawn + random.gauss(0, 1)
        return (image_CHW + self.spread * noise).clamp(0, 255).byte()


class InvertedTensor:
    def __call__(self, image_CHW):
        assert image_CHW.ndim == 3 and image_CHW.dtype == torch.uint8
        return 255 - image_CHW


class InvertedBatch:
    def __call__(self, images_BCHW):
        assert images_BCHW.ndim == 4
        return 255 - images_BCHW


class InvertedArray:
    def __call__(self, image):
        assert isinstance(image, np.ndarray) and image.shape[2] in (1, 3)
        return {"image": 255 - image}


class InvertedPil:
    def __call__(self, image):
        assert isinstance(image, Image.Image)
        return ImageOps.invert(image)


class Mirror:
    def __call__(self, image, mask=None):
        return {"image": image[:, ::-1]} | ({} if mask is None else {"mask": mask[:, ::-1]})


class Shrunk:
    def __call__(self, image_CHW):
        return image_CHW[:, ::2]


class Floats:
    def __call__(self, image_CHW):
        return image_CHW / 255


class Nothing:
    def __call__(self, image):
        return None


class NoCall:
    pass
