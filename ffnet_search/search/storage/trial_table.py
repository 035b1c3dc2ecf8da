"""The trials of a search as a CSV table."""

from __future__ import annotations

import csv
from pathlib import Path

from ffnet_search.atomic_write import replacing
from ffnet_search.formatting import csv_cell
from ffnet_search.metrics import COSTS, ERROR, IMAGES
from ffnet_search.search.storage.trial_record import ATTRIBUTES, TrialRecord
from ffnet_search.search.storage.trial_writer import TrialWriter
from ffnet_search.space.registry import DEFAULT_TASK, task_outputs
from ffnet_search.space.search_space import SearchSpace


def write_candidates(path: Path, writer: TrialWriter, space: SearchSpace) -> None:
    """Replace the file by all trials as CSV, with their final hyper-parameters. Raises SweepError."""
    names = writer.attribute_names()
    quality = task_outputs(space.images.task if space.has_network else DEFAULT_TASK).quality
    judged = [name for name in (f"{quality.name}{ERROR}", IMAGES.name) if name in names]
    metrics = dict.fromkeys([quality.name, *judged, *COSTS, *(name for name in names if name not in ATTRIBUTES)])
    columns = ["trial", "key", "state", "feasible", "origin", *metrics, "stopped", *space.hyperparameters]
    if "schedule" in names:
        columns.append("schedule")
    columns += ["reason", "architecture"]
    with replacing(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
        table.writerow({name: csv_cell(name) for name in columns})
        for record in map(TrialRecord.from_trial, writer.stored(space.hyperparameters)):
            own = {"trial": record.number, "state": record.state, "feasible": str(record.is_feasible).lower()}
            row = {**record.final_params, **record.to_attrs(), **own}
            table.writerow({name: csv_cell(value) for name, value in row.items()})
