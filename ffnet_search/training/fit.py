"""Training of a sweep's supernet, and of one network, by Lightning's Trainer; both resume from a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from lightning import LightningDataModule, seed_everything

from ffnet_search.atomic_write import replacing
from ffnet_search.config.schema import TrainSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.datamodule import Data
from ffnet_search.data.registry import build_data
from ffnet_search.errors import SweepError, error_context
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.reference import UNREADABLE, load_reference, start_from
from ffnet_search.space.architecture import Form
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import parse
from ffnet_search.training.modules import NonFiniteLoss, Standalone, Supernet
from ffnet_search.training.trainer import ALONE, TrainerPlacement, fit


def sweep_data(sweep: Sweep) -> Data:
    """Read and split the data of a sweep. Raises SweepError, whose sentence names the sweep's file."""
    with error_context(sweep.path):
        return build_data(sweep.data, sweep.seed, sweep.search_space.images)


def train_supernet(sweep: Sweep, placement: TrainerPlacement = ALONE) -> Path:
    """Train the supernet of `sweep` and write it to `sweep.files.supernet`; resume from the last checkpoint.

    On several ranks, each calls this with its placement, and the first one writes. Raises SweepError where a checkpoint
    is unreadable, or the loss stays non-finite at half the learning rate."""
    data, recipe = sweep_data(sweep), sweep.train

    def make() -> Supernet:
        seed_everything(sweep.seed, verbose=False)
        supernet = Supernet(sweep.search_space, recipe, sweep.seed)
        if recipe.start_from is not None:
            try:
                reference = load_reference(recipe.start_from, resolution=sweep.search_space.images.resolution)
                start_from(supernet.net, reference)
            except ValueError as error:
                raise SweepError(f"{sweep.path}: train.start_from {recipe.start_from}: {error}") from None
        return supernet

    try:
        supernet = fit(make, data, sweep.files.training, "train", placement)
    except NonFiniteLoss as error:
        raise SweepError(
            f"{sweep.path}: the {error}, again after a return to the last good checkpoint at half the learning rate; "
            f"lower train.learning_rate ({recipe.learning_rate}) or train.clip_norm ({recipe.clip_norm})"
        ) from None
    if supernet.global_rank == 0:
        write_supernet(sweep.files.supernet, supernet.net, sweep.search_space)
    return sweep.files.supernet


def train_architecture(
    net: MetaMixer, data: LightningDataModule, recipe: TrainSection, folder: Path, seed: int
) -> MetaMixer:
    """Train one stand-alone network for `recipe.epochs`, in `folder`; return it in evaluation mode."""
    return fit(lambda: Standalone(net, recipe, seed), data, folder, f"train {net.largest.key}", ALONE).net.eval()


def write_supernet(path: Path, net: MetaMixer, space: SearchSpace) -> None:
    """Write the trained weights, with the search space that they serve."""
    content = {
        "search_space": space.model_dump_json(),
        "branches": net.form.branches,
        "layer_scale": net.form.layer_scale,
        "state_dict": {name: tensor.detach().cpu() for name, tensor in net.state_dict().items()},
    }
    with replacing(path) as scratch:
        torch.save(content, scratch)


def read_supernet(path: Path) -> MetaMixer:
    """The supernet in a file of `write_supernet`. Raises SweepError where it is missing or is another file."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        space = parse(SearchSpace, json.loads(content["search_space"]), str(path))  # its mixers may be user-supplied
        net = MetaMixer.for_space(space, Form(content["branches"], content["layer_scale"]))
        net.load_state_dict(content["state_dict"])
    except FileNotFoundError:
        raise SweepError(f"{path}: no such file; run `ffnet-search train` first") from None
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:150]
        raise SweepError(
            f"{path}: is not a supernet of this program, or is cut off ({reason}); move it away and train again"
        ) from None
    return net
