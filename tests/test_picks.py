"""The networks that are exported: among them the best within the latencies of FFNets by hand."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from networks import SPACES
from retraining_sweep import DIRECTIONS
from searched_runs import table_of

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.picks import networks_at_budgets
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.pareto.subset import choose
from ffnet_search.space.by_hand import by_hand


def searched(folder: Path, **sections: Any) -> tuple[Sweep, list[Candidate]]:
    """A sweep of the digits space with a latency table, and the front of some of its networks: more MACs are better, up
    to luck."""
    content = {"name": "s", "runs": str(folder), "search_space": yaml.safe_load(SPACES["ffnet_digits"].read_text())}
    sweep = Sweep.from_content({**content, **sections}, Path("s.yaml"))
    space, rng = sweep.search_space, random.Random(0)
    table = table_of(space, 1.0, 0.0)
    sweep.latency_path.parent.mkdir(parents=True)
    table.save(sweep.latency_path)
    archs = [space.smallest, space.largest, *(space.sample(rng) for _ in range(400))]
    candidates = [
        Candidate(arch, {"accuracy": 1 - 1 / (1 + arch.macs_m + rng.random()), "latency_ms": table.predict_ms(arch)})
        for arch in archs
    ]
    return sweep, pareto_front(candidates, DIRECTIONS)


def test_a_front_has_the_best_within_each_latency_by_hand(tmp_path: Path) -> None:
    sweep, front = searched(tmp_path)
    wanted, table = networks_at_budgets(sweep, front), table_of(sweep.search_space, 1.0, 0.0)
    chosen = choose(front, sweep.export.top, DIRECTIONS, wanted)
    assert len(chosen) == sweep.export.top < len(front)
    for name in ("width1", "width2", "width3"):
        budget = table.predict_ms(by_hand(sweep.search_space)[name])
        near = [one.metrics["accuracy"] for one in front if one.metrics["latency_ms"] <= 0.97 * budget]
        exported = [one.metrics["accuracy"] for one in chosen if one.metrics["latency_ms"] <= budget]
        assert max(exported) >= max(near)
    assert {*wanted} <= {one.key for one in chosen} >= {front[0].key, front[-1].key}


@pytest.mark.parametrize(
    ("sections", "count"),
    [
        ({"export": {"top": 8}}, 3),
        ({"export": {"top": 6}}, 2),  # half of those beside the ends
        ({"export": {"top": 3}}, 0),
        ({"report": {"yardstick": False}}, 0),
        ({"search": {"objectives": ["accuracy", "macs_m"]}}, 0),
    ],
)
def test_few_networks_are_exported_for_the_comparison(tmp_path: Path, sections: dict[str, Any], count: int) -> None:
    sweep, front = searched(tmp_path, **sections)
    assert len(networks_at_budgets(sweep, front)) == count
    sweep.latency_path.unlink()
    assert networks_at_budgets(sweep, front) == []  # without a table of latencies nothing is known of them
