"""Ray Tune's side of engine "tune": the search algorithm that hands it configurations, and the run of its Tuner."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback
from ray.tune.search.search_algorithm import SearchAlgorithm

from ffnet_search.cluster import session
from ffnet_search.config.search_schema import Resources
from ffnet_search.engines.tune.schedulers import OfThisProcess, report_to
from ffnet_search.engines.tune.trainable import RESULT, TuneTrainable, as_proposed
from ffnet_search.errors import one_line, shortened
from ffnet_search.evaluation.engine import CRASHES, EngineContext
from ffnet_search.evaluation.outcome import Failed, Outcome, Pruner
from ffnet_search.evaluation.schedule import final_hyperparameters, read_schedule
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.hyperparameters import Configuration


class Proposals(OfThisProcess, SearchAlgorithm):
    """The search algorithm whose trials are the configurations that the loop submits, `at_once` at a time.

    No `Searcher`: Tune's population-based training refuses those."""

    def __init__(self, at_once: int, pruner: Pruner, trials: Path) -> None:
        self.at_once, self.pruner, self.trials = at_once, pruner, trials
        self.submitted: queue.Queue[Configuration | None] = queue.Queue()  # None: no more
        self.ended: queue.Queue[tuple[Configuration, Outcome]] = queue.Queue()
        self.live: dict[str, Configuration] = {}

    @property
    def total_samples(self) -> int:
        return sys.maxsize

    def add_configurations(self, experiments: Any) -> None:
        (experiment,) = experiments
        self._spec = experiment.spec

    def next_trial(self) -> Trial | None:
        if self.is_finished() or len(self.live) >= self.at_once:
            return None
        try:
            configuration = self.submitted.get(block=not self.live)  # else Tune would sleep a second
        except queue.Empty:
            return None
        if configuration is None:
            self.set_finished()
            return None
        self.live[configuration.key] = configuration
        return self._trial(configuration)

    def _trial(self, configuration: Configuration) -> Trial:
        """The trial of `configuration`, with the hyper-parameters that an interrupted population gave it last."""
        spec = self._spec
        values = final_hyperparameters(read_schedule(self.trials / configuration.key), configuration.hyperparameters)
        config = {"key": configuration.key, "proposal": replace(configuration, hyperparameters=values), **values}
        return Trial(
            spec["run"],
            config={**spec["config"], **config},
            trial_id=configuration.key,
            storage=spec["storage"],
            placement_group_factory=spec["resources_per_trial"],
            checkpoint_config=spec["checkpoint_config"],
            trial_dirname_creator=_folder_name,
            max_failures=CRASHES - 1,
        )

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        report_to(self.pruner, trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        configuration = self.live.pop(trial_id)
        if error or not result:
            self.ended.put((configuration, Failed(f"its worker died {CRASHES} times")))
            return
        report_to(self.pruner, trial_id, result)
        outcome = result[RESULT]
        if isinstance(outcome, Candidate):
            outcome = as_proposed(outcome, configuration.hyperparameters)
        self.ended.put((configuration, outcome))


def run_tune(
    context: EngineContext, resources: Resources, proposals: Proposals, scheduler: Any, stopping: threading.Event
) -> None:
    """Run Tune, with `resources` for each worker, until no configuration follows or `stopping` is set.

    An error is put among the outcomes."""
    trainable = tune.with_resources(
        tune.with_parameters(TuneTrainable, make_evaluate=context.make_evaluate, minutes=context.section.trial_minutes),
        tune.PlacementGroupFactory([session.as_ray(resources)]),
    )
    os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")  # a failed trial has no metrics
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    for handler in logging.getLogger("ray").handlers:
        handler.addFilter(ONE_LINE)
    try:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(search_alg=proposals, scheduler=scheduler, num_samples=-1, reuse_actors=True),
            run_config=tune.RunConfig(
                name=f"{datetime.now():%Y-%m-%dT%H-%M-%S}",
                storage_path=str((context.folder / "tune").absolute()),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                stop=_Stop(stopping),
                callbacks=[_Json(), _Csv()],
            ),
        ).fit()
    except BaseException as error:
        proposals.ended.put((Configuration(None), error))


class OneLine(logging.Filter):
    """Makes one bounded line of what Ray logs, with the error in the place of its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        text = f"{record.getMessage()} {'' if error is None else error}"
        record.msg, record.args = shortened(one_line(text)), ()
        record.exc_info = record.exc_text = None
        return True


ONE_LINE = OneLine()


class _Closing:
    """A logger of Tune that closes the files of trials still running when a search ends."""

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        for trial in trials:
            self.log_trial_end(trial)  # type: ignore[attr-defined]


class _Json(_Closing, JsonLoggerCallback):
    pass


class _Csv(_Closing, CSVLoggerCallback):
    pass


class _Stop(OfThisProcess, tune.Stopper):
    """Ends all trials once `event` is set."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.event.is_set()


def _folder_name(trial: Trial) -> str:
    return str(trial.trial_id)
