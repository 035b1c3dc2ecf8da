"""The sandwich step, the draws, and what training refuses."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from networks import images, space
from task_spaces import SPACES
from tiny_sweep import sweep
from torch.nn import functional as F

from ffnet_search.config.schema import TrainSection
from ffnet_search.data.registry import build_data
from ffnet_search.evaluation.judge import quality
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.tasks.base import find_task
from ffnet_search.training.draws import SubnetworkDraws
from ffnet_search.training.modules import CHECK_EVERY, Standalone, Supernet
from ffnet_search.training.trainer import quiet_lightning

CLASSIFICATION = find_task("classification")


def test_each_network_of_a_step_learns_by_an_update_of_its_own() -> None:
    """The largest from labels; the others from labels and its soft targets, half and half, on the weights so far."""
    chosen = space("ffnet_digits")
    torch.manual_seed(0)
    supernet = Supernet(chosen, TrainSection(label_smoothing=0.1, sampled=3, labels=0.5), seed=3)
    supernet.manual_backward = torch.Tensor.backward  # type: ignore[method-assign, assignment]
    reference = MetaMixer.for_space(chosen, supernet.recipe.form)
    reference.load_state_dict(supernet.net.state_dict())
    batches = [(images(chosen, 16, seed), torch.arange(16) % 10) for seed in range(2)]
    networks = [chosen.largest, *SubnetworkDraws(chosen, 3).of_step(5, 3)]
    assert len(set(networks)) == 4
    rest, targets_BK = iter(networks), [reference(x_BCHW).detach().softmax(-1) for x_BCHW, _ in batches]
    losses = []

    def update(loss: torch.Tensor) -> None:
        """Compare with the gradients of the next network alone; then take a step on both sides."""
        losses.append(loss)
        arch, total = next(rest), torch.zeros(())
        for (x_BCHW, label_B), target_BK in zip(batches, targets_BK, strict=True):
            logits_BK = reference(x_BCHW, arch)
            labels = F.cross_entropy(logits_BK, label_B, label_smoothing=0.1)
            distance = (target_BK * (target_BK.log() - logits_BK.log_softmax(-1))).sum(-1).mean()
            total = total + (labels if arch == chosen.largest else 0.5 * labels + 0.5 * distance) / 2
        total.backward()
        torch.testing.assert_close(loss, total.detach())
        pairs = zip(supernet.net.named_parameters(), reference.parameters(), strict=True)
        for (name, ours), theirs in pairs:
            assert (ours.grad is None) == (theirs.grad is None), name
            if ours.grad is not None:
                torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5, msg=name)
        for net in (supernet.net, reference):
            torch.optim.SGD(net.parameters(), 0.1).step()
            net.zero_grad()

    assert supernet.learn(batches, 5, update) == losses[0]
    assert len(losses) == 4


@pytest.mark.parametrize("task", SPACES)
def test_a_step_in_bf16_gives_finite_gradients_of_float32(task: str) -> None:
    """As GPUs compute, with autocast: no loss and no metric meets a type that it does not take."""
    chosen = SPACES[task]
    shape, kind = chosen.images, find_task(task)
    supernet = Supernet(chosen, TrainSection(**{**kind.recipe, "optimizer": "sgd"}))
    supernet.manual_backward = torch.Tensor.backward  # type: ignore[method-assign, assignment]
    side = [shape.outputs * pixels for pixels in shape.shape[1:]]
    targets = {
        "classification": torch.arange(4) % shape.outputs,
        "segmentation": torch.zeros(4, *shape.shape[1:], dtype=torch.uint8),
        "multilabel": torch.eye(4, shape.outputs),
        "regression": torch.rand(4, shape.outputs),
        "super_resolution": torch.zeros(4, shape.channels, *side, dtype=torch.uint8),
    }
    batch = images(chosen, 4), targets[task]
    losses: list[torch.Tensor] = []
    with torch.autocast("cpu", torch.bfloat16):
        supernet.learn([batch], 1, losses.append)
        with torch.no_grad():
            output_B = supernet.net(batch[0])
            supernet.qualities[0].update(output_B, batch[1])
            kind.scores(output_B, batch[1], shape.outputs).numpy()
    assert math.isfinite(supernet.qualities[0].compute()) and all(loss.isfinite() for loss in losses)
    gradients = [weight.grad for weight in supernet.weights if weight.grad is not None]
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(("labels", "alike"), [(0.0, True), (0.5, False), (1.0, False)])
def test_labels_are_the_share_of_targets_in_the_loss_of_sub_networks(labels: float, alike: bool) -> None:
    supernet = Supernet(space("ffnet_digits"), TrainSection(labels=labels))
    logits_BK, soft_target_BK = torch.randn(2, 8, 10, generator=torch.Generator().manual_seed(0))
    pair = [supernet.shared_loss(logits_BK, label_B, soft_target_BK.softmax(-1)) for label_B in torch.eye(2, 8).long()]
    assert bool(pair[0] == pair[1]) == alike


def test_draws_depend_on_seed_and_step_alone() -> None:
    first, again, other = (SubnetworkDraws(space("ffnet_cifar"), seed) for seed in (1, 1, 2))
    assert first.of_step(7, 2) == again.of_step(7, 2)
    assert first.of_step(7, 2) != first.of_step(8, 2)
    assert first.of_step(7, 2) != other.of_step(7, 2)


@pytest.mark.parametrize("name", ["ffnet_digits", "ffnet_cifar"])
def test_draws_are_about_even_over_the_logarithm_of_macs(name: str) -> None:
    """Of the thirds from the smallest to the largest each has its share, and single networks are not repeated much."""
    chosen = space(name)
    draws = SubnetworkDraws(chosen, 0)
    drawn = [arch for step in range(300) for arch in draws.of_step(step, 2)]
    low, high = math.log(chosen.smallest.macs_m), math.log(chosen.largest.macs_m)
    thirds = [min(2, int(3 * (math.log(arch.macs_m) - low) / (high - low))) for arch in drawn]
    uniform = [chosen.sample(random.Random(number)) for number in range(600)]
    evenly = [min(2, int(3 * (math.log(arch.macs_m) - low) / (high - low))) for arch in uniform]
    assert min(thirds.count(third) for third in range(3)) > 600 / 6
    assert min(evenly.count(third) for third in range(3)) < min(thirds.count(third) for third in range(3))
    assert max(drawn.count(arch) for arch in set(drawn)) < 0.1 * len(drawn)


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
