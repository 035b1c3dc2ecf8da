"""Training of a sweep's supernet, or of one network, by Lightning's Trainer; both resume from a checkpoint."""

from __future__ import annotations

from pathlib import Path

from lightning import LightningDataModule, seed_everything

from ffnet_search.config.named_metrics import check_output_names
from ffnet_search.config.schema import TrainSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.modules.base import Data
from ffnet_search.data.registry import build_data
from ffnet_search.errors import SweepError, error_context
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import write_supernet
from ffnet_search.training.modules import NonFiniteLoss, Standalone, Supernet
from ffnet_search.training.start import load_start
from ffnet_search.training.trainer import ALONE, TrainerPlacement, fit


def sweep_data(sweep: Sweep) -> Data:
    """Read and split the data of a sweep. Raises SweepError, whose sentence names the sweep's file."""
    with error_context(sweep.path):
        data = build_data(sweep.data, sweep.seed, sweep.search_space.images)
        check_output_names(sweep, data.outputs)
    return data


def train_supernet(sweep: Sweep, placement: TrainerPlacement = ALONE) -> Path:
    """Train the supernet of `sweep` and write it to `sweep.files.supernet`; resume from the last checkpoint.

    On several ranks, each calls this with its placement, and the first one writes. Raises SweepError if a checkpoint
    is unreadable, or the loss stays non-finite at half the learning rate."""
    data, recipe, start = sweep_data(sweep), sweep.train, load_start(sweep)

    def make() -> Supernet:
        seed_everything(sweep.seed, verbose=False)
        supernet = Supernet(sweep.search_space, recipe, sweep.seed)
        if start is not None:
            start.initialise(supernet.net, data.calibration)
        return supernet

    try:
        supernet = fit(make, data, sweep.files.training, "train", placement, recipe.minutes)
    except NonFiniteLoss as error:
        raise SweepError(
            f"{sweep.path}: the {error}, again after a return to the last good checkpoint at half the learning rate; "
            f"lower train.learning_rate ({recipe.learning_rate}) or train.clip_norm ({recipe.clip_norm})"
        ) from None
    if supernet.global_rank == 0:
        record = None if start is None else start.record
        write_supernet(sweep.files.supernet, supernet.net, sweep.search_space, record, supernet.epochs_done)
    return sweep.files.supernet


def train_architecture(
    net: MetaMixer, data: LightningDataModule, recipe: TrainSection, folder: Path, seed: int
) -> MetaMixer:
    """Train one stand-alone network for `recipe.epochs`, in `folder`; return it in evaluation mode."""
    return fit(lambda: Standalone(net, recipe, seed), data, folder, f"train {net.largest.key}", ALONE).net.eval()
