"""The search: Optuna proposes architectures and hyper-parameters under hard constraints, an engine evaluates them, a
study keeps them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ffnet_search import settings
from ffnet_search.architecture import Input
from ffnet_search.attempt import Evaluate, Failure, Referee
from ffnet_search.errors import SweepError
from ffnet_search.evaluators import FromSweep
from ffnet_search.latency import LatencyTable
from ffnet_search.pareto import Candidate
from ffnet_search.proposal import Value
from ffnet_search.reachable import CheapMetrics, check_budget
from ffnet_search.search.ask_tell import Search
from ffnet_search.search.copies import copied
from ffnet_search.search.history import Curve, History, read_history
from ffnet_search.search.local import Local
from ffnet_search.search.loop import Engine, run_loop
from ffnet_search.search.referee import Rule
from ffnet_search.search.study import open_study, read_candidates, write_candidates
from ffnet_search.search.under_way import UnderWay
from ffnet_search.search_space import SearchSpace
from ffnet_search.sections import LatencySection, SearchSection
from ffnet_search.sweep import Sweep

if TYPE_CHECKING:
    from ffnet_search.profiling.bench import Bench


def _local(
    make_evaluate: Callable[[], Evaluate], section: SearchSection, folder: Path, referee: Referee, space: SearchSpace
) -> Engine:
    return Local(make_evaluate(), referee)


def _ray(
    make_evaluate: Callable[[], Evaluate], section: SearchSection, folder: Path, referee: Referee, space: SearchSpace
) -> Engine:
    from ffnet_search.search.cluster import Pool

    return Pool(make_evaluate, section, referee)


def _tune(
    make_evaluate: Callable[[], Evaluate], section: SearchSection, folder: Path, referee: Referee, space: SearchSpace
) -> Engine:
    from ffnet_search.search.tune import Tune

    return Tune(make_evaluate, section, folder / "tune", referee, space)


# Name -> engine. It is given what makes an evaluator: called once in each process that evaluates, so it can be pickled.
ENGINES: dict[str, Callable[[Callable[[], Evaluate], SearchSection, Path, Referee, SearchSpace], Engine]] = {
    "local": _local,
    "ray": _ray,
    "tune": _tune,
}


def make_bench(section: LatencySection, input: Input, kept: Path | None) -> Bench:
    """Where latency is measured: in this process, or on the node of a cluster that carries the device."""
    from ffnet_search.search import device  # brings PyTorch, which looking at a study does without

    return device.make_bench(section, input, kept)


def run_search(sweep: Sweep) -> list[Candidate]:
    """Searches until `search.trials` architectures are evaluated, going on with the study that is there.

    Reads the supernet and the latency table of the run, writes its study and its CSV of all candidates, and returns
    the candidates, all feasible. Raises SweepError where the constraints cannot be met.
    """
    cheap = None
    if "profile" in sweep.stages:
        cheap = CheapMetrics(LatencyTable.load(sweep.latency_path), read_tables(sweep, sweep.search.devices))
        check_budget(sweep, cheap)
    return search(
        sweep.search_space,
        FromSweep(sweep),
        cheap,
        sweep.search,
        sweep.files.study,
        sweep.files.candidates,
        seed=sweep.seed,
        digest=_digest(sweep),
        start=settings.current(sweep),
        resumable=sweep.search.evaluator == "train",
    )


def search(
    space: SearchSpace,
    make_evaluate: Callable[[], Evaluate],
    cheap: CheapMetrics | None,
    section: SearchSection,
    study: Path,
    candidates: Path,
    *,
    seed: int = 0,
    digest: str = "",
    rule: Rule | None = None,
    start: Mapping[str, Value] | None = None,
    resumable: bool = False,
) -> list[Candidate]:
    """The search without a sweep: any evaluator, any files.

    `make_evaluate()` gives what scores a proposal, and `rule`, in place of that of `section.early_stopping`, may stop
    one early; `digest` names all that scores depend on, and a study with another one is refused; `cheap` and `start`
    are those of `Search`. `resumable`: an evaluation that was cut off leaves what it can go on from, so the next search
    begins with it. The same seed gives the same study, on one engine that evaluates one at a time.
    """
    objectives = section.directions
    with (
        open_study(study, objectives, digest) as (writer, finished),
        copied(writer, finished, section.storage, study.parent.name, objectives, digest),
    ):
        under_way = UnderWay(study.with_name(f"{study.name}.under_way") if resumable else None)
        state = Search(space, cheap, section, seed, writer, finished, rule, start, under_way)
        finished.clear()  # there may be thousands, and they are on disk
        try:
            with ENGINES[section.engine](make_evaluate, section, study.parent, state.referee, space) as engine:
                run_loop(state, engine)
        finally:
            under_way.put_back()
            write_candidates(candidates, writer.stored(space.hyperparameters), state.names, space)
    found = read_candidates(study, space)
    if Counter(candidate.key for candidate in found) != Counter(state.scores.keys()):
        raise SweepError(
            f"{study}: must hold each of the {state.evaluated} candidates that were evaluated once, but holds "
            f"{len(found)}: another program wrote to it; keep it to one, and give the same command again"
        )
    return found


def read_tables(sweep: Sweep, devices: Iterable[str]) -> dict[str, LatencyTable]:
    """Device -> its latency table. Raises SweepError where one is missing."""
    return {name: LatencyTable.load(sweep.on_device(name).latency_path) for name in devices}


def _digest(sweep: Sweep) -> str:
    """Of all that a candidate's metrics depend on: the settings, and the table and weights that were made from them."""
    content = hashlib.sha256(sweep.digest("search").encode())
    tables, supernet = map(sweep.files.latency_table, sweep.searched), sweep.files.supernet
    read = {"profile": list(tables), "train": [supernet]}
    for path in (path for stage, paths in read.items() if stage in sweep.stages for path in paths):
        try:
            content.update(path.read_bytes())
        except OSError as error:
            raise SweepError(f"{path}: the search needs it, but it cannot be read: {error.strerror}") from None
    return content.hexdigest()[:16]


__all__ = [
    "ENGINES",
    "Curve",
    "Engine",
    "Evaluate",
    "Failure",
    "History",
    "Search",
    "make_bench",
    "read_candidates",
    "read_history",
    "read_tables",
    "run_search",
    "search",
]
