"""A small space for each shipped task."""

from __future__ import annotations

import masks
import photos
import tables
from searches import TINY

from ffnet_search.space.search_space import SearchSpace

SPACES: dict[str, SearchSpace] = {
    "classification": TINY,
    "segmentation": masks.SPACE,
    "multilabel": tables.space("multilabel"),
    "regression": tables.space("regression"),
    "super_resolution": photos.SPACE,
}
