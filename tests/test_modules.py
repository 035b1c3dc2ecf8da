"""The sandwich step, the draws, and what training refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning import Trainer
from networks import images, space
from tiny_sweep import sweep
from torch.nn import functional as F

from ffnet_search.config.schema import TrainSection
from ffnet_search.data.registry import build_data
from ffnet_search.evaluation.inherited import quality
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.tasks.base import find_task
from ffnet_search.training.modules import CHECK_EVERY, Standalone, Supernet, draw
from ffnet_search.training.trainer import quiet_lightning

CLASSIFICATION = find_task("classification")


def test_one_sandwich_step_is_the_sum_of_its_networks() -> None:
    """Its gradients = those of the labelled largest plus those of the others on its soft targets."""
    chosen = space("ffnet_digits")
    torch.manual_seed(0)
    supernet = Supernet(chosen, TrainSection(label_smoothing=0.1, sampled=2), seed=3)
    supernet.manual_backward = torch.Tensor.backward  # type: ignore[method-assign, assignment]
    reference = MetaMixer.for_space(chosen, supernet.recipe.form)
    reference.load_state_dict(supernet.net.state_dict())
    x_BCHW, label_B = images(chosen, 16), torch.arange(16) % 10
    supernet.accumulate(x_BCHW, label_B, step=5)

    logits_BK = reference(x_BCHW)
    loss = F.cross_entropy(logits_BK, label_B, label_smoothing=0.1)
    target_BK = logits_BK.detach().softmax(-1)
    networks = [*draw(chosen, 3, 5, 2), chosen.smallest]
    assert len(set(networks)) == 3
    for arch in networks:
        prediction_BK = reference(x_BCHW, arch).log_softmax(-1)
        loss = loss + (target_BK * (target_BK.log() - prediction_BK)).sum(-1).mean()
    loss.backward()
    for (name, ours), theirs in zip(supernet.net.named_parameters(), reference.parameters(), strict=True):
        if theirs.grad is None:
            assert ours.grad is None, name
        else:
            assert ours.grad is not None
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_draws_depend_on_seed_and_step_alone() -> None:
    chosen = space("ffnet_cifar")
    assert draw(chosen, 1, 7, 2) == draw(chosen, 1, 7, 2)
    assert draw(chosen, 1, 7, 2) != draw(chosen, 1, 8, 2)
    assert draw(chosen, 1, 7, 2) != draw(chosen, 2, 7, 2)


def test_a_network_is_validated_with_statistics_of_its_own(tmp_path: Path) -> None:
    """Not with running averages, which after few steps are still those of no images at all."""
    run = sweep(tmp_path)
    data = build_data(run.data, run.seed, run.search_space.largest.input)
    net = MetaMixer.for_space(run.search_space, run.train.form).slice_to(run.search_space.smallest)
    alone = Standalone(net, run.train.model_copy(update={"epochs": 3}))
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    with quiet_lightning():
        trainer.fit(alone, datamodule=data)
    logged = float(trainer.callback_metrics["val_accuracy"])
    recalibrated = fuse(recalibrate(net, data.calibration))
    assert logged == pytest.approx(quality(recalibrated, data.val_dataloader(), CLASSIFICATION), abs=0.01)


@pytest.mark.parametrize(
    ("device", "step", "waits"),
    [("cpu", 1, True), ("cuda", CHECK_EVERY, True), ("cuda", CHECK_EVERY - 1, False), ("cuda", CHECK_EVERY + 1, False)],
)
def test_a_gpu_is_waited_for_seldom(device: str, step: int, waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    supernet = Supernet(space("ffnet_digits"), TrainSection())
    monkeypatch.setattr(Supernet, "device", torch.device(device))
    assert supernet.may_synchronise(step) == waits
