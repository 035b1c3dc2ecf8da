"""The facts of the sentence at the top of a report: the network that the search ranks first, and its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from ffnet_search.config.named_metrics import ranking
from ffnet_search.export.answer import ranked_on
from ffnet_search.export.groups import not_told_apart
from ffnet_search.formatting import listed, sentence_case
from ffnet_search.metrics import ERROR, FOLDS, IMAGES, JUDGED, LATENCY, SPLITS, Metric
from ffnet_search.report.data import Run


@dataclass(frozen=True)
class Headline:
    """The facts about the network that the search ranks first.

    `ranked_by`: the objective and its value, where it is not the task's quality. `rivals`: the networks that a paired
    test does not tell apart from it, in words; empty if there is none. `reference`: what test has without a network."""

    name: str
    link: str
    validation: str
    test: str
    ms: str
    limit: str
    ranked_by: str
    rivals: Markup
    reference: str
    why: str


def headline_of(run: Run) -> Headline:
    """Collect the facts about the network that the search ranks first."""
    network, quality, by = run.first, run.task.quality, ranking(run.sweep)
    qualities = {split: _quality(run, f"{split}_{quality.name}", f"{split}_{IMAGES.name}") for split in SPLITS}
    ranked = ranked_on(run.exported, by)
    is_usual = ranked == "search" and by.key == quality.name
    limit = run.sweep.search.constraints.get(LATENCY.key)
    name = network.folder.name
    return Headline(
        name,
        link=f"pareto/{name}",
        validation=qualities["search"],
        test=qualities["test"],
        ms=run.metric("measured_ms").format(network.metrics["measured_ms"]),
        limit="" if limit is None else f" within {LATENCY.format(limit)}",
        ranked_by="" if is_usual else f" by {by.phrase}{_reached(run, by, ranked)}",
        rivals=_rivals(run, name, JUDGED if ranked == FOLDS else SPLITS),
        reference=sentence_case(run.task.reference_note(network.details)),
        why=why_splits_differ(len(run.history.evaluated), quality.phrase),
    )


def _rivals(run: Run, name: str, splits: Mapping[str, str]) -> Markup:
    """The networks that are not told apart from `name` on each split; splits with the same ones are listed together."""
    where: dict[tuple[str, ...], list[str]] = {}  # rivals -> the splits, in words
    for split, words in splits.items():
        where.setdefault(tuple(not_told_apart(run.groups, split, name)), []).append(words)
    clauses = [
        f"{listed([_whole(one) for one in rivals])} {listed(words)}" for rivals, words in where.items() if rivals
    ]
    return Markup("; ".join(clauses))  # the names are escaped


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
    metrics = run.first.metrics
    words = run.metric(key).format_with(metrics[key], metrics.get(f"{key}{ERROR}"))
    return f"{words} on {metrics[images]:,.0f} images" if images in metrics else words


def why_splits_differ(compared: int, quality: str) -> str:
    """The reason for a difference of validation and test, in a sentence."""
    return (
        f"The {quality} on validation is optimistic: the search chose among {compared:,} networks by it, luck "
        "included. Test images choose nothing."
    )
