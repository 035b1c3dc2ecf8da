"""The 1,797 real handwritten digits of scikit-learn (UCI, Alpaydin and Kaynak 1998): 8 x 8, grey, 17 levels."""

from __future__ import annotations

import numpy as np

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import DataSet, InMemory, Source, must_match, split_test
from ffnet_search.space.input import Input

LEVELS = 16  # of the brightest pixel; each level is an inked pixel in a 4 x 4 square of the original scan


class Digits(DataSet):
    """`data.name: digits`. A fifth is the test split, the same for every seed."""

    tasks = ("classification",)
    known_images = 1438

    def read(self, section: DataSection, input: Input) -> Source:
        from sklearn.datasets import load_digits  # a second to import

        bunch = load_digits()
        pixels_NHWC = np.rint(bunch.images * (255 / LEVELS)).astype(np.uint8)[..., None]
        labels_N = bunch.target.astype(np.int64)
        train, test = split_test(labels_N)
        return Source(
            train=InMemory(pixels_NHWC[train], labels_N[train]),
            test=InMemory(pixels_NHWC[test], labels_N[test]),
            outputs=self.output_names(section, input),
            digest=InMemory(pixels_NHWC, labels_N).digest(),
        )

    def output_names(self, section: DataSection, input: Input) -> tuple[str, ...]:
        return tuple(str(digit) for digit in range(10))

    def check(self, section: DataSection, input: Input) -> None:
        must_match(section, input, channels=1, resolution=8, outputs=10)
