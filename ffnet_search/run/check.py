"""Checks of a sweep before anything is run: data, import paths, limits. They load no torch and take about a second."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ffnet_search.config.files import is_cluster
from ffnet_search.config.named_metrics import check_output_names
from ffnet_search.config.schema import LatencySection
from ffnet_search.config.search_schema import SamplerSection, SchedulerSection
from ffnet_search.config.start import check_start
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.dataset import refuse_given_validation, refuse_many_folds
from ffnet_search.data.registry import (
    check_data,
    look_at_images,
    output_names,
    read_as_training,
    read_data,
    validation_images,
)
from ffnet_search.engines.registry import ENGINES
from ffnet_search.errors import SweepError, error_context
from ffnet_search.export.formats.base import find_format
from ffnet_search.export.formats.registry import FORMATS
from ffnet_search.imports.consent import may_import_foreign
from ffnet_search.imports.modules import find_module, is_foreign
from ffnet_search.latency.backends.base import BACKENDS, make_backend
from ffnet_search.latency.threads import many_threads, refuse_many_threads
from ffnet_search.plugins import import_path, is_import_path, is_installed, not_installed
from ffnet_search.progress import say, signs_of_life
from ffnet_search.run.interrupt import import_whole
from ffnet_search.run.latency_tables import cost_model
from ffnet_search.run.named_sources import check_sources
from ffnet_search.run.stages import STAGES, stages_of
from ffnet_search.space.cost_model import check_budget
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.tasks.base import task_of
from ffnet_search.tasks.scores import few_words, split_words

LOGGERS = {  # of Lightning -> the packages of which each needs one
    "CometLogger": ("comet_ml",),
    "MLFlowLogger": ("mlflow",),
    "NeptuneLogger": ("neptune",),
    "TensorBoardLogger": ("tensorboard", "tensorboardX"),
    "WandbLogger": ("wandb",),
}


def check_sweep(sweep: Sweep, *, imports: bool = False) -> None:
    """Raise SweepError if a run of `sweep` would be refused, as far as that shows without running anything. `imports`:
    the classes that it names are imported and tried, as a run does before its first stage.

    The data and modules of a sweep in a Ray cluster's file are on the cluster, so its file is checked instead."""
    with error_context(sweep.path):
        import_path(sweep.search.engine, "search.engine", ENGINES)
        for device in sweep.latency:
            import_path(device.backend, "latency.backend", BACKENDS)
        for name in sweep.export.formats:
            import_path(name, "export.formats", FORMATS)
    if sweep.path.exists() and is_cluster(sweep.path):
        from ffnet_search.cluster.cluster_file import check_cluster

        check_cluster(sweep.path)
    else:
        with error_context(sweep.path):
            if sweep.module is None or not is_import_path(sweep.data.name):
                check_data(sweep.data, sweep.search_space.images)
                if outputs := output_names(sweep.data, sweep.search_space.images):
                    check_output_names(sweep, outputs)
                _check_validation(sweep)
                _check_folds(sweep)
            if sweep.train.start_from is not None:
                check_start(sweep.train.start_from)
            _check_packages(sweep)
            if not is_import_path(sweep.search.sampler.class_path) and sweep.search.sampler != SamplerSection():
                check_sampler(sweep)
            check_sources(sweep)
            for device in _timed_here(sweep):
                if sentence := many_threads(device, make_backend(device)):
                    say(f"latency: on this machine, {sentence}")  # the run may be on another one
        if imports:
            check_classes(sweep, [stage.name for stage in stages_of(sweep)])
    check_limits(sweep)


def check_content(sweep: Sweep) -> None:
    """Raise SweepError if a training would refuse the data, which are read as it reads them. Loads torch; imports a
    user-supplied data module where that is allowed."""
    name = sweep.data.name
    with error_context(sweep.path):
        if is_import_path(name):
            file = find_module(name, "data.name")
            if file is not None and is_foreign(file) and not may_import_foreign():
                say(f"data: {file} is not imported unasked, so its batches are not read; add --allow-imports for that")
                return
        import_whole("torch", "torchmetrics", "lightning")
        if sweep.module is None or not is_import_path(name):
            check_output_names(sweep, read_data(sweep.data, sweep.seed, sweep.search_space.images))
        else:
            from ffnet_search.data.modules.user_data import make_module

            data = make_module(sweep.data)
            data.prepare_data()
            data.setup("fit")
            data.setup("test")


def check_before_profile(sweep: Sweep) -> None:
    """Raise SweepError if the training that comes later would begin by refusing the data, or folds of them. A user's
    data module is looked at by `check_classes`."""
    if is_import_path(sweep.data.name) or not sweep.search_space.has_network:
        return
    with error_context(sweep.path), signs_of_life("data"):
        check_data(sweep.data, sweep.search_space.images)
        _check_validation(sweep)
        _check_folds(sweep)
        import_whole("torch", "torchmetrics", "lightning")
        check_output_names(sweep, read_as_training(sweep.data, sweep.seed, sweep.search_space.images))
        look_at_images(sweep.data, sweep.search_space.images)


def split_note(sweep: Sweep) -> str:
    """The differences that the validation images tell from luck; empty if they are unknown, or no question."""
    judged = sweep.search_space.images if sweep.search_space.has_network and sweep.module is None else None
    images = None if judged is None else validation_images(sweep.data, sweep.seed, judged)
    if judged is None or images is None:
        return ""
    if sweep.quality.unit == "%" and task_of(judged).is_mean:
        return split_words(*images, sweep.data.validation, sweep.export.folds)
    return few_words(images[0]) or ""


def _check_validation(sweep: Sweep) -> None:
    """Raise SweepError if no image is left for search validation, or for training."""
    if not sweep.search_space.has_network or sweep.module is not None:
        return
    images = validation_images(sweep.data, sweep.seed, sweep.search_space.images)
    if images is not None and images[1] is not None and not 0 < images[0] < images[1]:
        raise SweepError(
            f"data.validation must leave images for search validation and for training, but {sweep.data.validation:g} "
            f"of {images[1]:,} is {images[0]:,}; change it, or use more images"
        )


def _check_folds(sweep: Sweep) -> None:
    """Raise SweepError if the exported networks cannot be cross-validated, which comes last in a run."""
    if not sweep.export.folds:
        return
    images = validation_images(sweep.data, sweep.seed, sweep.search_space.images)
    if images is not None:
        refuse_given_validation(images if images[1] is None else None)
        refuse_many_folds(sweep.export.folds, images[1] or 0)


def check_sampler(sweep: Sweep) -> None:
    """Raise SweepError if the sampler does not exist, or refuses its arguments or objectives. Loads Optuna."""
    from ffnet_search.search.problem import SearchProblem
    from ffnet_search.search.samplers.optuna import make_sampler
    from ffnet_search.search.storage.study import quiet_optuna

    with quiet_optuna():
        make_sampler(SearchProblem(sweep.search_space, sweep.search, None, sweep.seed), 0)


def check_classes(sweep: Sweep, stages: Collection[str]) -> None:
    """Raise SweepError if one of the classes that `stages` use does not exist, lacks a package, or does not take its
    arguments, or if a user-supplied data module has batches that are none of the task: before anything is computed.
    Loads them, user-supplied ones too."""
    with error_context(sweep.path):
        _check_packages(sweep)
        if {"profile", "search", "export"} & set(stages):
            for device in _timed_here(sweep):
                refuse_many_threads(device, make_backend(device))
        if "search" in stages:
            _check_search(sweep)
        if "profile" in stages:
            import_whole(*STAGES["profile"].packages)
            for device in sweep.latency:
                if device.resource is None:
                    make_backend(device)
        if "export" in stages:
            _check_exported(sweep)
        if stages and sweep.search_space.has_network:
            _check_mixers(sweep.search_space)
        if sweep.module is None and is_import_path(sweep.data.name) and {"train", "search"} & set(stages):
            import_whole("torch", "torchmetrics", "lightning")
            from ffnet_search.data.registry import build_data

            data = build_data(sweep.data, sweep.seed, sweep.search_space.images)  # which looks at its first batches
            check_output_names(sweep, data.outputs)
        if stages and sweep.data.augment.transforms:
            import_whole("torch")
            from ffnet_search.data.augmentation.transforms import check_transforms

            check_transforms(sweep.data.augment)
        if stages and (sweep.train.callbacks or sweep.train.loggers or sweep.search.loggers):
            import_whole("torch", "torchmetrics", "lightning")
            from ffnet_search.training.named_classes import check_named

            check_named(sweep)


def _check_search(sweep: Sweep) -> None:
    """Raise SweepError if the sampler, the stopping rule, Tune's scheduler or a user-supplied module is refused."""
    import_whole("optuna")
    from ffnet_search.search.early_stopping.pruner import TrialPruner, make_rule

    check_sampler(sweep)
    make_rule(sweep.search)
    if sweep.search.scheduler != SchedulerSection():
        from ffnet_search.cluster.session import import_ray

        import_ray()
        from ffnet_search.engines.tune.schedulers import make_scheduler

        make_scheduler(sweep.search, sweep.search_space, TrialPruner(sweep.search.objectives, None))
    if sweep.module is not None:
        import_whole("torch", "torchmetrics", "lightning")
        from ffnet_search.evaluation.user_module import check_own_classes

        check_own_classes(sweep)


def _check_exported(sweep: Sweep) -> None:
    """Raise SweepError if a format or a baseline is refused, which come last in a run."""
    for name in sweep.export.formats:
        find_format(name, "export.formats")
    if sweep.report.baselines:
        import_whole("torch", "torchmetrics", "lightning")
        from ffnet_search.export.yardstick.baselines import baseline_classes

        baseline_classes(sweep.report.baselines)


def _check_mixers(space: SearchSpace) -> None:
    """Raise SweepError if a user-supplied mixer is none. Loads torch where there is one."""
    offered = [value for values in space.axes().values() for value in values if isinstance(value, str)]
    offered += [part.mixer for part in space.largest.parts]
    for name in filter(is_import_path, dict.fromkeys(offered)):
        import_whole("torch")
        from ffnet_search.models.mixer_check import check_mixer

        check_mixer(name, space)


def _check_packages(sweep: Sweep) -> None:
    """Raise SweepError if a registered class needs a package that is not installed, or refuses its arguments."""
    for device in sweep.latency:
        if device.resource is None and not is_import_path(device.backend):  # others are on a node of the cluster
            make_backend(device)
    for name in sweep.export.formats:
        if not is_import_path(name):
            find_format(name, "export.formats")
    for section, loggers in (("train", sweep.train.loggers), ("search", sweep.search.loggers)):
        for index, logger in enumerate(loggers):
            name = logger.class_path.rpartition(":")[2]
            if name in LOGGERS and not any(map(is_installed, LOGGERS[name])):
                raise not_installed(f"{section}.loggers.{index}.class_path", name, LOGGERS[name][0])


def _timed_here(sweep: Sweep) -> Iterator[LatencySection]:
    """The devices on which a search times networks in this program's own process; a user's backend knows by itself."""
    if sweep.module is None or sweep.search.engine == "local":  # else the workers time the user's networks
        for device in sweep.searched_devices:
            if device.resource is None and not is_import_path(device.backend):
                yield device


def check_limits(sweep: Sweep) -> None:
    """Raise SweepError if no architecture of the space keeps a limit; on latency once its table exists."""
    costs = cost_model(sweep, measured_only=True)
    with error_context(sweep.path):
        check_budget(sweep.search_space, costs, sweep.search.cost_limits)
