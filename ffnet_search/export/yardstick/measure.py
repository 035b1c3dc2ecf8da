"""The yardstick of a front: networks by hand, and a user's own, trained and measured in the same way.

runs/NAME/yardstick/width2-KEY/   as an exported network; gains.json: what the front gains at their latencies

A yardstick is kept as long as the weights that it was made from; it costs once as much as exporting five more networks.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace

from ffnet_search.atomic_write import SUFFIX, write_json
from ffnet_search.config.named_metrics import ranking
from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.outcome import Evaluate, NopPruner, run_safely
from ffnet_search.evaluation.trained import TrialEvaluator
from ffnet_search.export.answer import Offer, answer
from ffnet_search.export.card import write_card
from ffnet_search.export.exported import ExportedNetwork, read_card, read_exported
from ffnet_search.export.ffnets import devices_of
from ffnet_search.export.front import write_picks
from ffnet_search.export.picks import retrained_picks
from ffnet_search.export.retraining.retrain import weights_digest
from ffnet_search.export.yardstick.baselines import write_baselines
from ffnet_search.export.yardstick.gains import GAINS, Gain
from ffnet_search.formatting import plural
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.progress import say
from ffnet_search.provenance import git_state
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.by_hand import by_hand
from ffnet_search.space.cost_model import analytic_metrics
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import find_task


def measure_yardstick(sweep: Sweep) -> None:
    """Make the yardstick of a run whose front is exported, where there is none of its weights, and compare."""
    folder, digest = sweep.files.yardstick, weights_digest(sweep)
    exported = read_exported(folder)
    made = [one.read_card().get("made_from") for one in exported if one.architecture is not None]
    if not made or any(one != digest for one in made):
        scratch = folder.with_name(f"{folder.name}{SUFFIX}")
        shutil.rmtree(scratch, ignore_errors=True)
        networks = by_hand(sweep.search_space)
        say(
            f"yardstick: {plural(len(networks), 'network')} by hand, as the front is trained and measured: "
            f"{', '.join(networks)}"
        )
        candidates = dict(_evaluated(sweep, networks))
        picks = retrained_picks(sweep, list(candidates.values()))
        folders = [scratch / f"{name}-{candidate.key}" for name, candidate in candidates.items()]
        write_picks(sweep, [picks[candidate.key] for candidate in candidates.values()], folders)
        for path in folders:
            write_card(path, {**read_card(path), "made_from": digest})
        shutil.rmtree(folder, ignore_errors=True)
        scratch.mkdir(exist_ok=True)  # where all failed
        scratch.rename(folder)
    for path in folder.glob("baseline*"):
        shutil.rmtree(path)
    write_baselines(sweep, folder)
    write_gains(sweep)


def write_gains(sweep: Sweep) -> None:
    """Compare the exported networks with the yardstick of their run, where there is one."""
    folder = sweep.files.yardstick
    if folder.exists():
        gains = compare(sweep, read_exported(sweep.files.pareto), read_exported(folder))
        write_json(folder / GAINS, [asdict(gain) for gain in gains])


def _evaluated(sweep: Sweep, networks: Mapping[str, Architecture]) -> Iterator[tuple[str, Candidate]]:
    """The networks as the search evaluates candidates, with their costs; without those that fail, as trials may."""
    inherits = sweep.search.evaluator == "supernet"
    evaluate: Evaluate = Evaluator.from_sweep(sweep) if inherits else TrialEvaluator(sweep, git=git_state())
    devices = devices_of(sweep)
    for name, arch in networks.items():
        ended = run_safely(evaluate, Configuration(arch), NopPruner())
        if not isinstance(ended, Candidate):
            say(f"yardstick: {name} failed and is left out: {getattr(ended, 'reason', 'it was stopped')}")
            continue
        tables = {f"latency_ms{device.suffix}": device.table for device in devices}
        latency = {key: table.predict_ms(arch) for key, table in tables.items() if table is not None}
        yield name, Candidate(arch, {**ended.metrics, **latency, **analytic_metrics(arch)}, {}, ended.record)


def compare(sweep: Sweep, front: Sequence[ExportedNetwork], hand: Sequence[ExportedNetwork]) -> list[Gain]:
    """The gain of a front at the latency of each network by hand, the quickest first."""
    task, ranked_by = find_task(sweep.task), ranking(sweep)
    offers = [
        Offer(one.key, one.metrics[f"search_{ranked_by.key}"], 0.0, one.metrics["measured_ms"], None, one, True)
        for one in front
    ]
    gains = []
    # A network by hand that the front has was measured twice: the front's counts.
    same = {one.key: one for one in front}
    hand = [replace(one, metrics={**one.metrics, **same[one.key].metrics}) if one.key in same else one for one in hand]
    for one in sorted(hand, key=lambda one: one.metrics["measured_ms"]):
        ms = one.metrics["measured_ms"]
        folder = one.folder.name
        name = folder if one.architecture is None else folder.rpartition("-")[0]
        gain = Gain(name, folder, ms, one.metrics[task.test_quality])
        found = answer(offers, ranked_by, ms).exported
        better = None if found is None else found.exported
        if better is not None and better.key == one.key:
            gains.append(replace(gain, front=better.folder.name, front_quality=gain.quality, is_same=True))
            continue
        mine, theirs = None if better is None else better.scores("test"), one.scores("test", task)
        if better is not None and mine is not None and theirs is not None:
            quality = better.metrics[task.test_quality]
            gain = replace(
                gain,
                front=better.folder.name,
                front_quality=quality,
                difference=-task.quality.sign * (quality - gain.quality),
                error=mine.error_of_difference(theirs),
                p=mine.p_value(theirs),
            )
        gains.append(gain)
    return gains
