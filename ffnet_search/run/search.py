"""The search: Optuna proposes architectures and hyper-parameters under hard constraints, an engine evaluates them, a
study keeps them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ffnet_search.cluster.user_code import user_code
from ffnet_search.config.binding import current_values
from ffnet_search.config.schema import SearchSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.engines.registry import find_engine
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.engine import EngineContext
from ffnet_search.evaluation.factory import EvaluatorFactory
from ffnet_search.evaluation.outcome import Evaluate
from ffnet_search.latency.table import LatencyTable
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.early_stopping.pruner import StoppingRule
from ffnet_search.search.loop import run_loop
from ffnet_search.search.optimizer import Search
from ffnet_search.search.pending import PendingTrials
from ffnet_search.search.storage.database_copy import copied
from ffnet_search.search.storage.study import open_study, read_candidates, write_candidates
from ffnet_search.space.configuration import Value
from ffnet_search.space.cost_model import CostModel
from ffnet_search.space.feasibility import check_budget
from ffnet_search.space.search_space import SearchSpace


def run_search(sweep: Sweep, digest: str) -> list[Candidate]:
    """Searches until `search.trials` architectures are evaluated, going on with the study that is there.

    Reads the supernet and the latency table of the run, writes its study and its CSV of all candidates, and returns
    the candidates, all feasible. Raises SweepError where the constraints cannot be met.
    """
    cost_model = None
    if sweep.uses_latency_tables:
        cost_model = CostModel(LatencyTable.load(sweep.latency_path), read_tables(sweep, sweep.search.device_names))
        check_budget(sweep, cost_model)
    return search(
        sweep.search_space,
        EvaluatorFactory(sweep),
        cost_model,
        sweep.search,
        sweep.files.study,
        sweep.files.candidates,
        seed=sweep.seed,
        digest=_digest(sweep, digest),
        start=current_values(sweep),
        resumable=sweep.search.evaluator == "train",
        code=user_code(sweep.model_dump(mode="json")),
    )


def search(
    space: SearchSpace,
    make_evaluate: Callable[[], Evaluate],
    cost_model: CostModel | None,
    section: SearchSection,
    study: Path,
    candidates: Path,
    *,
    seed: int = 0,
    digest: str = "",
    rule: StoppingRule | None = None,
    start: Mapping[str, Value] | None = None,
    resumable: bool = False,
    code: tuple[Path, ...] = (),
) -> list[Candidate]:
    """The search without a sweep: any evaluator, any files.

    `make_evaluate()` gives what scores a configuration, and `rule`, in place of that of `section.early_stopping`, may
    stop
    one early; `digest` names all that scores depend on, and a study with another one is refused; `cost_model` and
    `start`
    are those of `Search`. `resumable`: an evaluation that was cut off leaves what it can go on from, so the next search
    begins with it. The same seed gives the same study, on one engine that evaluates one at a time.
    """
    objectives = section.directions
    with (
        open_study(study, objectives, digest) as (writer, finished),
        copied(writer, finished, section.storage, study.parent.name, objectives, digest),
    ):
        under_way = PendingTrials(study.with_name(f"{study.name}.under_way") if resumable else None)
        state = Search(space, cost_model, section, seed, writer, finished, rule, start, under_way)
        finished.clear()  # there may be thousands, and they are on disk
        try:
            context = EngineContext(make_evaluate, section, state.pruner, study.parent, space, code)
            with find_engine(section)(context) as engine:
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
    return {name: LatencyTable.load(sweep.files.latency_table(sweep.device(name))) for name in devices}


def _digest(sweep: Sweep, digest: str) -> str:
    """Of all that a candidate's metrics depend on: the settings, and the table and weights that were made from them."""
    content = hashlib.sha256(digest.encode())
    read: list[Path] = []
    if sweep.uses_latency_tables:
        read += [sweep.files.latency_table(device) for device in sweep.searched_devices]
    if sweep.uses_supernet:
        read.append(sweep.files.supernet)
    for path in read:
        try:
            content.update(path.read_bytes())
        except OSError as error:
            raise SweepError(f"{path}: the search needs it, but it cannot be read: {error.strerror}") from None
    return content.hexdigest()[:16]
