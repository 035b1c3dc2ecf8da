"""The 1,797 real handwritten digits of scikit-learn (UCI, Alpaydin and Kaynak 1998): 8 x 8, grey, 17 levels."""

from __future__ import annotations

import numpy as np

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import InMemory, Source, must_match, split_test
from ffnet_search.space.architecture import Input

LEVELS = 16  # the brightest pixel; each counts the ink in a 4 x 4 square of the original scan


class Digits:
    """`data.name: digits`. A fifth is the test split, the same for every seed."""

    def read(self, data: DataSection, input: Input) -> Source:
        from sklearn.datasets import load_digits  # a second to import

        self.check(data, input)
        bunch = load_digits()
        pixels_NHWC = np.rint(bunch.images * (255 / LEVELS)).astype(np.uint8)[..., None]
        labels_N = bunch.target.astype(np.int64)
        train, test = split_test(labels_N)
        images = InMemory(pixels_NHWC, labels_N)
        return Source(
            train=InMemory(pixels_NHWC[train], labels_N[train]),
            test=InMemory(pixels_NHWC[test], labels_N[test]),
            classes=tuple(str(digit) for digit in range(10)),
            digest=images.digest(),
        )

    def check(self, data: DataSection, input: Input) -> None:
        must_match(data, input, channels=1, resolution=8, classes=10)
