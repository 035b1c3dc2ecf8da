"""The networks that are exported: chosen from the search's front, retrained if the sweep says so, and the front of the
results."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from ffnet_search.config.named_metrics import ranking
from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.retrained import Retrained
from ffnet_search.export.retraining.folds import Folds, cross_validate
from ffnet_search.export.retraining.retrain import retrain
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import LATENCY, Direction
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.pareto.subset import choose
from ffnet_search.progress import say
from ffnet_search.space.by_hand import by_hand

WITHIN_BUDGET = 0.97  # of a latency, by prediction: most networks then keep it once both are measured


@dataclass(frozen=True)
class Pick:
    """A network to export: as the search evaluated it, and retrained, if it was."""

    candidate: Candidate
    retrained: Retrained | None = None
    is_better: bool = True  # retrained, on search validation; else its old weights are exported
    folds: Folds | None = None  # its figures by cross-validation, where there are any

    @property
    def key(self) -> str:
        return self.candidate.key

    @property
    def judged(self) -> Candidate:
        """The candidate with the metrics of the weights that are exported."""
        if self.retrained is None or not self.is_better:
            return self.candidate
        return replace(self.candidate, metrics={**self.candidate.metrics, **self.retrained.metrics})

    def network(self, sweep: Sweep) -> MetaMixer | None:
        """The retrained network, in evaluation mode on the CPU; None if the old weights are exported."""
        if self.retrained is None or not self.is_better:
            return None
        net = MetaMixer(self.candidate.network, sweep.with_values(self.candidate.final_hyperparameters).train.form)
        content = io.BytesIO(self.retrained.content)
        net.load_state_dict(torch.load(content, map_location="cpu", weights_only=True))
        return net.eval()


def draw_front(sweep: Sweep, candidates: Sequence[Candidate], keys: Collection[str] = ()) -> list[Pick]:
    """Choose the networks to export, best first: of the front, or of the front of what was retrained; and those of
    `keys` that are not among them, which a user asked for.

    What is retrained are `retrain.candidates` of the search's front and, where it has fewer, of those next to it; among
    them those that are compared with networks by hand. Of a network that is worse on search
    validation than before, the old weights stay."""
    directions, top, retraining = sweep.search.directions, sweep.export.top, retraining_of(sweep)
    asked = [candidate for candidate in candidates if candidate.key in keys]
    searched = pareto_front(candidates, directions)
    compared = networks_at_budgets(sweep, searched)
    if retraining is None:
        front = choose(searched, top, directions, compared)
        return [Pick(candidate) for candidate in [*front, *(one for one in asked if one not in front)]]
    chosen = shortlist(candidates, directions, retraining.candidates, compared)
    picks = retrained_picks(sweep, [*chosen, *(one for one in asked if one not in chosen)])
    front = pareto_front([picks[candidate.key].judged for candidate in chosen], directions)
    kept = sum(not pick.is_better for pick in picks.values())
    keep = f"{kept} keeps its" if kept == 1 else f"{kept} keep their"
    stay = f", and {keep} old weights, which are better" if kept else ""
    are = "is" if len(front) == 1 else "are"
    say(
        f"retrain: the front is drawn from what was retrained: {len(front)} of {len(chosen)} networks {are} on it{stay}"
    )
    drawn = choose(front, top, directions, networks_at_budgets(sweep, front))
    exported = [candidate.key for candidate in drawn]
    return [picks[key] for key in dict.fromkeys([*exported, *(candidate.key for candidate in asked)])]


def networks_at_budgets(sweep: Sweep, front: Sequence[Candidate]) -> list[str]:
    """The keys of the best candidates of a front within the predicted latencies of FFNets by hand, the quickest first:
    half of the exported networks beside the ends of the front, at most.

    The yardstick is compared at these latencies, and a front of few networks may have none near them. Empty where no
    such comparison is made, or latency is not an objective."""
    path, space = sweep.latency_path, sweep.search_space
    if not (sweep.report.yardstick and space.is_elastic and LATENCY.key in sweep.search.objectives and path.exists()):
        return []
    table, ranked = LatencyTable.load(path), ranking(sweep)
    budgets = sorted(WITHIN_BUDGET * table.predict_ms(arch) for arch in by_hand(space).values())
    keys = []
    for budget in budgets:
        within = [one for one in front if one.metrics[LATENCY.key] <= budget]
        if within:
            keys.append(min(within, key=lambda one: ranked.sign * one.metrics[ranked.key]).key)
    return list(dict.fromkeys(keys))[: max(0, (sweep.export.top - 2) // 2)]


def retrained_picks(sweep: Sweep, candidates: Sequence[Candidate]) -> dict[str, Pick]:
    """The candidates by key, each retrained where the sweep says so, and with the weights that are better."""
    retraining, quality = retraining_of(sweep), ranking(sweep)
    retrained = {} if retraining is None else retrain(sweep, candidates, retraining)
    picks = {}
    for candidate in candidates:
        after = retrained.get(candidate.key)
        gain = 0.0 if after is None else after.metrics[quality.key] - candidate.metrics[quality.key]
        picks[candidate.key] = Pick(candidate, after, is_better=quality.sign * gain <= 0)
    return picks


def cross_validated(sweep: Sweep, picks: Sequence[Pick]) -> list[Pick]:
    """The networks to export with their figures by cross-validation, where the sweep has folds."""
    folds = cross_validate(sweep, [pick.candidate for pick in picks])
    return [replace(pick, folds=folds.get(pick.key)) for pick in picks]


def shortlist(
    candidates: Sequence[Candidate], directions: Mapping[str, Direction], count: int, wanted: Collection[str] = ()
) -> list[Candidate]:
    """Choose `count` candidates of the front, those whose keys are `wanted` among them; where it is shorter, all of it
    and some of the front without it."""
    chosen: list[Candidate] = []
    rest = list(candidates)
    while rest and len(chosen) < count:
        front = pareto_front(rest, directions)
        chosen += choose(front, count - len(chosen), directions, wanted)
        keys = {candidate.key for candidate in front}
        rest = [candidate for candidate in rest if candidate.key not in keys]
    return chosen
