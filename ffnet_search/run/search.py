"""The search: Optuna proposes architectures and hyper-parameters under hard constraints, an engine evaluates them, a
study keeps them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ffnet_search.cluster.user_code import user_code
from ffnet_search.config.binding import current_values
from ffnet_search.config.sweep import Sweep
from ffnet_search.engines.registry import find_engine
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.engine import EngineContext
from ffnet_search.evaluation.factory import EvaluatorFactory
from ffnet_search.latency.table import LatencyTable
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search import loop
from ffnet_search.search.optimizer import Optimizer
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.search_storage import open_storage
from ffnet_search.space.cost_model import CostModel
from ffnet_search.space.feasibility import check_budget


def run_search(sweep: Sweep, digest: str) -> list[Candidate]:
    """Searches until `search.trials` architectures are evaluated, going on with the study that is there.

    Reads the supernet and the latency table of the run, writes its study and its CSV of all candidates, and returns
    the candidates, all feasible. Raises SweepError where the constraints cannot be met.
    """
    cost_model = None
    if sweep.uses_latency_tables:
        cost_model = CostModel(LatencyTable.load(sweep.latency_path), read_tables(sweep, sweep.search.device_names))
        check_budget(sweep, cost_model)
    space, section, files = sweep.search_space, sweep.search, sweep.files
    problem = SearchProblem(space, section, cost_model, sweep.seed, current_values(sweep))
    with open_storage(
        problem,
        files.study,
        files.candidates,
        digest=_digest(sweep, digest),
        resumable=section.evaluator == "train",
    ) as storage:
        optimizer, code = Optimizer(problem, storage), user_code(sweep.model_dump(mode="json"))
        context = EngineContext(EvaluatorFactory(sweep), section, optimizer.pruner, files.folder, space, code)
        return loop.run_search(optimizer, find_engine(sweep.search)(context), storage)


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
