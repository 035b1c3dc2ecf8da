"""The facts of the sentence at the top of a report: the network that the search ranks first, and its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from ffnet_search.config.named_metrics import ranking
from ffnet_search.export.answer import ranked_on
from ffnet_search.export.groups import not_told_apart
from ffnet_search.formatting import listed
from ffnet_search.metrics import ERROR, FOLDS, IMAGES, JUDGED, LATENCY, SPLITS, Metric
from ffnet_search.report.data import Run
from ffnet_search.tasks.scores import LEVEL


@dataclass(frozen=True)
class Lead:
    """`ranked_by`: the objective and its value, where it is not the task's quality. `rivals`: those that a paired test
    does not tell apart from it, in words; empty if there is none."""

    name: str
    link: str
    validation: str
    test: str
    ms: str
    limit: str
    ranked_by: str
    rivals: Markup
    why: str


def lead_of(run: Run) -> Lead:
    """The facts about the network that the search ranks first."""
    network, task, by = run.first, run.task, ranking(run.sweep)
    split = {name: _quality(run, f"{name}_{task.quality.name}", f"{name}_{IMAGES.name}") for name in SPLITS}
    split_of = ranked_on(run.exported, by)
    limit = run.sweep.search.constraints.get(LATENCY.key)
    name = network.folder.name
    splits = JUDGED if split_of == FOLDS else SPLITS
    by_split = {words: not_told_apart(run.groups, key, name) for key, words in splits.items()}
    same: dict[tuple[str, ...], list[str]] = {}  # the rivals -> where they are these
    for words, others in by_split.items():
        same.setdefault(tuple(others), []).append(words)
    rivals = {listed(words): others for others, words in same.items()}
    told = [f"{listed([_whole(one) for one in others])} {words}" for words, others in rivals.items() if others]
    return Lead(
        name,
        f"pareto/{name}",
        split["search"],
        split["test"],
        run.metric("measured_ms").format(network.metrics["measured_ms"]),
        "" if limit is None else f" within {LATENCY.format(limit)}",
        "" if split_of == "search" and by.key == task.quality.name else f" by {by.phrase}{_reached(run, by, split_of)}",
        Markup("; ".join(told)),  # the names are escaped
        why_splits_differ(len(run.history.evaluated), task.quality.phrase),
    )


def _whole(name: str) -> str:
    """A name in which no line breaks, escaped."""
    return str(Markup('<span class="whole">{}</span>').format(name))


def _reached(run: Run, by: Metric, split: str) -> str:
    """The value that the network is ranked by: ` (97.2 %)`, or that of cross-validation with its images."""
    key = f"{split}_{by.key}"
    if split == FOLDS:
        return f" {JUDGED[FOLDS]} ({_quality(run, key, f'{FOLDS}_{IMAGES.name}')})"
    return f" ({by.format(run.first.metrics[key])})"


def _quality(run: Run, key: str, images: str) -> str:
    m = run.first.metrics
    words = run.metric(key).format_with(m[key], m.get(f"{key}{ERROR}"))
    return f"{words} on {m[images]:,.0f} images" if images in m else words


def why_splits_differ(compared: int, quality: str) -> str:
    """The reason for a difference of validation and test, in a sentence."""
    return (
        f"The {quality} on validation is optimistic: the search chose among {compared:,} networks by it, luck "
        "included. Test images choose nothing."
    )


def yardstick_rows(run: Run) -> list[tuple[str, str, list[str]]]:
    """A row for each network by hand: its latency and quality, the front's network as quick, and what that gains."""
    quality, rows = run.task.quality, []
    for gain in run.gains:
        front = ["none", "", "", ""]
        if gain.front:
            told = "yes" if gain.p < LEVEL else "no"
            difference = f"{quality.scale * gain.difference:+.2f} ± {quality.scale * gain.error:.2f}"
            front = [gain.front, quality.format(gain.front_quality), difference, told]
        ms = run.metric("measured_ms").format(gain.ms)
        rows.append((gain.by_hand, f"yardstick/{gain.folder}", [ms, quality.format(gain.quality), *front]))
    return rows
