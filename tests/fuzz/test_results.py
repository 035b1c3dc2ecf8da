"""Damaged results of a run: its study, its notes of unfinished work, its weights and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mutations
import pytest
from entry_points import PROFILE, RUN, call, command, in_parts, replaced
from hypothesis import given
from hypothesis import strategies as st

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import read_network
from ffnet_search.export.network import load
from ffnet_search.latency.journal import Journal
from ffnet_search.models.saved import read_supernet
from ffnet_search.report.annotate import annotate_study
from ffnet_search.search.storage.pending_trials import PendingTrials


@in_parts
@pytest.mark.parametrize("kind", ["rows", "bytes"])
def test_study(base: Path, kind: str) -> None:
    path = base / RUN / "study.db"
    content = path.read_bytes()

    @PROFILE
    @given(
        st.lists(
            st.tuples(st.integers(0, 99), st.integers(0, 99), st.sampled_from(mutations.PLAIN)), min_size=1, max_size=3
        ),
        mutations.damage().filter(lambda how: how[0] != "none"),
    )
    def read(changes: list[tuple[int, int, Any]], how: tuple[str, int, int]) -> None:
        with replaced(path, content if kind == "rows" else mutations.damaged(content, how)):
            if kind == "rows":
                for change in changes:
                    mutations.change_study(path, *change)
            command("pick", RUN, "--latency-ms", "1")
            call(lambda: annotate_study(Sweep.of_run(RUN)))

    read()


@in_parts
@pytest.mark.parametrize("kind", ["journal", "pending"])
def test_notes_of_unfinished_work(base: Path, kind: str) -> None:
    """The journal of a profile and the pending trials of a search: the damaged part is left out, and made again."""
    lines: list[Any] = [
        {"digest": "x"},
        {"ratios": {"a": 1.0}, "anchors_s": [0.1, 0.2], "seconds": 1.0},
        {"contention": 1.0},
    ]
    trials = {"abc": {"origin": "TPESampler", "params": {"stage1.depth": 1}, "starts": 1, "preempted": 1, "epoch": 1}}
    path = base / kind

    @PROFILE
    @given(mutations.changes(mutations.RAW_JSON), mutations.damage())
    def read(changes: list[mutations.Change], how: tuple[str, int, int]) -> None:
        if kind == "journal":
            content = b"\n".join(mutations.as_json(mutations.changed(line, changes)) for line in [*lines, *lines])
            path.write_bytes(mutations.damaged(content, how))

            def resume() -> None:
                journal = Journal(path, "x")
                journal.add({"a": 1.0}, [0.1, 0.2], 1.0)
                journal.add_contention(1.0)
                assert journal.contention >= 0
                assert len(journal.anchors_ms) == 2

            call(resume)
        else:
            path.write_bytes(mutations.damaged(mutations.as_json(mutations.changed(trials, changes)), how))
            call(lambda: PendingTrials(path).begin("abc", "x", {}))

    read()


@in_parts
@pytest.mark.parametrize("kind", ["model.safetensors", "trainable.safetensors", "supernet.ckpt", "scores.npz"])
def test_weights(base: Path, kind: str) -> None:
    folder = base / RUN / "pareto" / "01-net"
    path = base / RUN / kind if kind == "supernet.ckpt" else folder / kind
    content = path.read_bytes()

    @PROFILE
    @given(mutations.damage().filter(lambda how: how[0] != "none"))
    def read(how: tuple[str, int, int]) -> None:
        with replaced(path, mutations.damaged(content, how)):
            if kind == "supernet.ckpt":
                call(lambda: read_supernet(path))
            elif kind == "scores.npz":
                call(lambda: read_network(folder).scores("test"))
            else:
                call(lambda: load(folder, trainable=kind.startswith("trainable")))

    read()
