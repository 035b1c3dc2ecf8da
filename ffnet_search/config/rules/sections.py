"""The rules between the sections of a sweep, in the order in which they are checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ffnet_search.config.binding import check_values, searched_fields
from ffnet_search.config.named_metrics import check_metrics
from ffnet_search.config.retraining import check_folds, check_retraining
from ffnet_search.config.rules.augmenting import check_augmenting
from ffnet_search.config.rules.unused_settings import check_unused_settings
from ffnet_search.errors import did_you_mean, shown
from ffnet_search.metrics import COSTS
from ffnet_search.space.block import BLOCK_AXES

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep


def check_devices(sweep: Sweep) -> None:
    """Raise ValueError if several devices have no names of their own, or the search names one that is not there."""
    names = [section.name for section in sweep.latency]
    if len(names) > 1 and (None in names or len(set(names)) < len(names)):
        raise ValueError(f"latency: several devices must have different names, but they are {shown(names)}")
    known = [name for name in names if name]
    for name in sweep.search.device_names:
        if name not in known:
            raise ValueError(
                f"search: latency_ms@{name} must name a device of latency{did_you_mean(name, known)}, but there "
                f"are: {', '.join(known) or 'none with a name'}"
            )


def check_training(sweep: Sweep) -> None:
    """Raise ValueError if the training of `train` cannot be done, on these data and networks."""
    batch_size, devices = sweep.data.batch_size, sweep.train.devices
    if sweep.module is not None and sweep.train.start_from is not None:
        raise ValueError("train.start_from must be left out where module is given: it has weights of FFNets")
    if batch_size % devices or batch_size < 2 * devices:
        raise ValueError(
            f"data.batch_size must be a multiple of train.devices, with 2 images for each of them, but got "
            f"{batch_size} for {devices}"
        )
    kernels = [name for name, axis in BLOCK_AXES.items() if axis.is_kernel]
    choices = [stage.choices(name) for stage in sweep.search_space.stages for name in kernels]
    if sweep.train.branches == "reference" and any(3 in sizes and len(sizes) > 1 for sizes in choices):
        raise ValueError(
            "train.branches must be 'all' or 'none' where a stage offers kernel 3 beside larger ones, but got "
            "'reference' (its 3 x 3 and larger convolutions have different parameters, so they cannot share)"
        )


def check_evaluator(sweep: Sweep) -> None:
    """Raise ValueError if the evaluator of the search does not fit what is searched."""
    space, search = sweep.search_space, sweep.search
    if space.has_network and space.images.task != sweep.task:
        raise ValueError(f"task must be {space.images.task!r}, the search space's, but got {sweep.task!r}")
    trained = {
        "search_space.hyperparameters": space.hyperparameters,
        "search_space.architecture": space.architecture,
        "module": sweep.module,
        "search.warm_start": search.warm_start,
    }
    for field, value in trained.items():
        if value and search.evaluator != "train":
            raise ValueError(f"search.evaluator must be 'train' where {field} is given, but is 'supernet'")
    if space.has_network == (sweep.module is not None):
        raise ValueError(
            "module must be given where search_space has neither stages nor an architecture, and only there"
        )


def check_warm_start(sweep: Sweep) -> None:
    """Raise ValueError if trials should start from a supernet where there is none."""
    if sweep.search.warm_start and not sweep.search_space.is_elastic:
        raise ValueError("search.warm_start must be left out where search_space has no stages, for a supernet")


def check_warm_start_values(sweep: Sweep) -> None:
    """Raise ValueError if a search would change the form of networks that start from a supernet."""
    if sweep.search.warm_start and {"train.branches", "train.layer_scale"} & searched_fields(sweep):
        raise ValueError("hyperparameters: branches and layer_scale are the supernet's under search.warm_start")


def check_constant_metrics(sweep: Sweep) -> None:
    """Raise ValueError if an objective or a limit would be the same for every trial."""
    if sweep.search_space.is_elastic:
        return
    constant = set(COSTS)
    if sweep.module is not None:
        constant.remove("latency_ms")  # measured for each trial
    idle = [name for name in sweep.search.objectives if name in constant]
    if idle:
        raise ValueError(
            f"search.objectives must not have {', '.join(idle)}, which would be the same for every trial of this "
            "search space; remove it, or give the space stages"
        )
    if sweep.search.cost_limits:
        raise ValueError("search.constraints must be left out where search_space has no stages: all trials are alike")


def check_formats(sweep: Sweep) -> None:
    """Raise ValueError if a user-supplied module should be exported as FFNets are."""
    if sweep.export.formats and sweep.module is not None:
        raise ValueError("export.formats must be left out where module is given: they are of FFNets; remove it")


RULES: tuple[Callable[[Sweep], None], ...] = (
    check_devices,
    check_training,
    check_evaluator,
    check_metrics,
    check_warm_start,
    check_constant_metrics,
    check_values,  # from here on the fields that hyper-parameters set are known
    check_retraining,
    check_folds,
    check_augmenting,
    check_unused_settings,
    check_warm_start_values,
    check_formats,
)
