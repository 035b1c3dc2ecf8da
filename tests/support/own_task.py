"""A user-supplied task: classification that is compared by F1, and whose outputs are called grades."""

from __future__ import annotations

from ffnet_search.metrics import Metric
from ffnet_search.tasks.classification import Classification


class Grades(Classification):
    name = "grades"
    quality = Metric("f1", "maximize", "F1", decimals=3, bounds=(0.0, 1.0))
    outputs_word = "grades"
