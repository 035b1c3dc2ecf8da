"""The states of the stages of a run, for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
from small_sweeps import table_of

from ffnet_search.config.sweep import Sweep
from ffnet_search.run import pipeline
from ffnet_search.run.stages import STAGES, Stage, plan


def states(sweep: Sweep) -> dict[str, str]:
    return {name: status.state.value for name, status in plan(sweep).items()}


def recorded_stages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages that take no time: they write the files of the real ones, and append their names to the list."""
    log: list[str] = []

    def stage(name: str) -> Callable[[Sweep], None]:
        def work(sweep: Sweep) -> None:
            log.append(name)
            for path in STAGES[name].outputs(sweep):
                path.parent.mkdir(parents=True, exist_ok=True)
                if path == sweep.latency_path:
                    table_of(sweep.search_space).save(path)
                else:
                    path.write_text(f"{name} of {STAGES[name].digest(sweep)}")

        return work

    for name in STAGES:
        monkeypatch.setitem(cast(dict[str, Stage], STAGES), name, replace(STAGES[name], run=stage(name)))
    monkeypatch.setattr(pipeline, "read_exported", lambda pareto: [])
    return log
