"""The network that `pick` selects for a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ffnet_search.cli.printing import print_path, print_plain
from ffnet_search.formatting import listed
from ffnet_search.metrics import ERROR, FOLDS, IMAGES, INT8, JUDGED, LATENCY, MACS, PARAMS, SPLITS, Metric
from ffnet_search.progress import say
from ffnet_search.tasks.base import task_of

if TYPE_CHECKING:
    from ffnet_search.export.exported import ExportedNetwork
    from ffnet_search.run.select import Selection


def print_selection(selection: Selection) -> None:
    """One network of a run for a budget: its folder, or its model in a format, on standard output for scripts, and all
    else on standard error. A network that is not exported has no folder: all lines are on standard output."""
    offer, quality, exported = selection.offer, selection.quality, selection.exported
    predicted = f"predicted; {selection.table.error}"
    show: Callable[[str], None] = print_plain if exported is None else say
    if exported is not None:
        print_path(selection.path)
        arch, figures, split = exported.network, exported.metrics, "search_"
        origin = "measured" if offer.is_measured else predicted
    else:
        assert offer.candidate is not None
        arch, figures, split, origin = offer.candidate.network, offer.candidate.metrics, "", predicted
    reached = quality.format_with(offer.quality, figures.get(f"{split}{quality.key}{ERROR}"))
    images = figures.get(f"{split}{IMAGES.name}")
    counted = "" if images is None else f" ({images:,.0f} images)"
    show(
        f"{offer.key}: {quality.phrase} {reached} {SPLITS['search']}{counted}, {LATENCY.format(offer.ms)} "
        f"{selection.measured_as} ({origin})"
    )
    if exported is not None:
        for line in _other_qualities(exported, quality):
            show(line)
    show(f"{PARAMS.format(arch.params_m)} parameters, {MACS.format(arch.macs_m)} MACs: {arch}")
    if alike := selection.alike:
        quicker = listed([f"{name} ({LATENCY.format(ms)})" for name, ms in alike.items()])
        show(f"quicker, and not told apart from it by a paired test on these images: {quicker}")
    if selection.hint:
        show(selection.hint)
    if selection.warning:
        show(f"warning: {selection.warning}")
    if selection.advice:
        show(f"advice: {selection.advice}")


def _other_qualities(network: ExportedNetwork, quality: Metric) -> Iterator[str]:
    """The quality by cross-validation, and that of the network in 8 bits, where they were measured."""
    task, metrics, folds = task_of(network.network.input), network.metrics, f"{FOLDS}_{quality.key}"
    if folds in metrics:
        reached = quality.format_with(metrics[folds], metrics.get(f"{folds}{ERROR}"))
        images = metrics[f"{FOLDS}_{IMAGES.name}"]
        yield f"{JUDGED[FOLDS]}: {quality.phrase} {reached} on {images:,.0f} images"
    if INT8 + task.test_quality in metrics:
        names = {"search validation": task.search_quality, "test": task.test_quality}
        reached_on = (f"{task.quality.format(metrics[INT8 + name])} on {split}" for split, name in names.items())
        yield f"with 8 bits: {', '.join(f'{task.quality.phrase} {words}' for words in reached_on)}"
