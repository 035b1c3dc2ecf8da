"""Exported networks compared on the same images: the groups of those that do not differ significantly.

runs/NAME/pareto/groups.json   split -> the folder's name -> letters: who shares one, is in one group; and `first`

Computed when a network is exported, so that it costs nothing to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ffnet_search.atomic_write import write_json
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.files.bounded import read_json
from ffnet_search.metrics import JUDGED, SPLITS
from ffnet_search.tasks.scores import letters

GROUPS = "groups.json"
Groups = Mapping[str, Mapping[str, str]]
WORDS = "networks that share a letter are not told apart by a paired test on the same images, at 5 % for all pairs"


@dataclass(frozen=True)
class First:
    """The exported network that the search ranks first, by its folder's name; `hint`: a better one is not exported."""

    name: str = ""
    hint: str = ""


def write_groups(pareto: Path, exported: Sequence[ExportedNetwork], first: First) -> None:
    """Test all pairs of exported networks that have scores, and write their groups beside `first`."""
    groups: dict[str, Mapping[str, str]] = {"first": asdict(first)}
    for split in JUDGED:
        scores = {one.folder.name: found for one in exported if (found := one.scores(split)) is not None}
        if scores or split in SPLITS:
            groups[split] = dict(zip(scores, letters(list(scores.values())), strict=True))
    write_json(pareto / GROUPS, groups)


def read_groups(pareto: Path) -> Groups:
    """The groups of a front; empty if none were written."""
    try:
        stored = read_json(pareto / GROUPS)
        found = {split: {str(name): str(text) for name, text in stored.get(split, {}).items()} for split in JUDGED}
        return {split: names if len(names) > 1 else {} for split, names in found.items()}  # a single one has no rival
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {split: {} for split in JUDGED}


def read_first(pareto: Path) -> First:
    """The network of a front that the search ranks first; nameless where none was written."""
    try:
        stored = read_json(pareto / GROUPS)["first"]
        return First(str(stored["name"]), str(stored["hint"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return First()


def not_told_apart(groups: Groups, split: str, name: str) -> list[str]:
    """The other networks that share a letter with `name` on a split, in the order of the front."""
    of = groups.get(split, {})
    return [other for other, text in of.items() if other != name and set(text) & set(of.get(name, ""))]
