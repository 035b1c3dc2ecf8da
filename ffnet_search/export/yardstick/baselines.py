"""User-supplied baselines of a front: torch modules with their own weights, judged and timed like its networks.

runs/NAME/yardstick/baseline1-MyNet/   the card and the scores of a module of `report.baselines`

A baseline takes normalised images (B, C, H, W), returns what the task's networks do, and is not trained here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.judge import judge_module
from ffnet_search.export.card import write_card
from ffnet_search.export.exported import write_scores
from ffnet_search.latency.module import measure_module
from ffnet_search.metrics import MEASURED
from ffnet_search.models.device import fastest_device
from ffnet_search.plugins import Plugin, check_arguments, find_class
from ffnet_search.tasks.base import task_of
from ffnet_search.training.fit import sweep_data


def write_baselines(sweep: Sweep, folder: Path) -> None:
    """Write the scores and the card of each baseline below `folder`. Raises SweepError for a module that fails."""
    named = sweep.report.baselines
    if not named:
        return
    data, input = sweep_data(sweep), sweep.search_space.images
    task, device = task_of(input), sweep.searched_devices[0]
    shape = (device.batch_size, *input.shape)
    for module, name, plugin in zip(_modules(named), _names(named), named, strict=True):
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        try:
            loaders = {"search": data.val_dataloader(), "test": data.test_dataloader()}
            judged = {split: judge_module(module, loader, task, input.outputs) for split, loader in loaders.items()}
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise SweepError(
                f"{sweep.path}: report.baselines: {plugin.class_path} must take images (B, "
                f"{', '.join(map(str, input.shape))}) and return {task.output_name}, but: "
                f"{' '.join(str(error).split())[:150]}"
            ) from None
        metrics = {f"{split}_{key}": value for split, one in judged.items() for key, value in one.metrics().items()}
        measured = measure_module(module, shape, device)
        metrics |= {MEASURED["measured_ms"].key: measured.ms, MEASURED["measured_spread"].key: measured.spread}
        metrics["params_m"] = sum(parameter.numel() for parameter in module.parameters()) / 1e6
        write_scores(target, {split: one.scores for split, one in judged.items()})
        write_card(target, {"key": name, "metrics": metrics, "baseline": plugin.model_dump(mode="json")})


def baseline_classes(named: Sequence[Plugin]) -> list[type[nn.Module]]:
    """The classes of baselines. Raises SweepError if one does not exist or does not take its arguments."""
    kinds = []
    for index, plugin in enumerate(named):
        field = f"report.baselines.{index}"
        kind = find_class(plugin.class_path, f"{field}.class_path", nn.Module)
        check_arguments(kind, plugin.init_args, f"{field}.init_args")
        kinds.append(kind)
    return kinds


def _modules(named: Sequence[Plugin]) -> list[nn.Module]:
    kinds, device = baseline_classes(named), fastest_device()
    return [kind(**plugin.init_args).eval().to(device) for kind, plugin in zip(kinds, named, strict=True)]


def _names(named: Sequence[Plugin]) -> list[str]:
    """`baseline1-MyNet`: a name for a folder."""
    return [
        f"baseline{index}-{re.sub(r'[^A-Za-z0-9_]+', '_', plugin.class_path.rpartition(':')[2])}"
        for index, plugin in enumerate(named, 1)
    ]
