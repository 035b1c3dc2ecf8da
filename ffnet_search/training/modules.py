"""Training of a MetaMixer with shared weights: sandwich rule and in-place distillation (BigNAS, arXiv 2003.11142).

A batch trains the largest network (targets of the data; the only one that is regularised), then some sampled networks,
on the same targets and on the largest's soft targets. Each network makes its own step of the optimiser: one step along
the sum of their gradients costs the same and gives far lower quality (docs/log/supernet.md). Left out, by published
figures: alpha-divergence (worse than KL on CIFAR-100 at all widths) and progressive shrinking (several stages for the
result of one). The task gives the losses and the quality. Shape keys: B batch, C channels, H and W pixels.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from ffnet_search.config.schema import TrainSection
from ffnet_search.data.modules.base import Data
from ffnet_search.models.bn_calibration import BATCH, recalibrate
from ffnet_search.models.cpu_threads import threads_for
from ffnet_search.models.device import fastest_device, fastest_layout
from ffnet_search.models.heads import StandardisedLinear
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.parallel import average_gradients
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.tasks.base import task_of
from ffnet_search.training.draws import SubnetworkDraws
from ffnet_search.training.losses import Distillation, Losses, class_weights
from ffnet_search.training.mixing import mix
from ffnet_search.training.optimizers.recipe import learning_rate, make_optimizer

Batch = tuple[Tensor, Tensor]  # images (B, C, H, W), targets (B, ...)
CHECK_EVERY = 20  # steps between checks of the loss for finite values on a GPU, which the CPU has to wait for


class NonFiniteLoss(RuntimeError):
    """A loss or gradient was infinite or not a number."""


class FFNetModule(LightningModule):
    """The common part of training a supernet and one network: optimiser, schedule, guard against non-finite losses.

    Optimisation is manual, because a supernet's step has several backward passes. `validated`: the end of a logged name
    -> a sub-network whose quality is logged under it; by default the whole network's alone."""

    def __init__(
        self, net: MetaMixer, recipe: TrainSection, seed: int = 0, validated: Mapping[str, Architecture] | None = None
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net = net.to(memory_format=fastest_layout(fastest_device()))  # type: ignore[call-overload]
        self.recipe, self.seed = recipe, seed
        self.task = task_of(net.largest.input)
        self.losses = Losses(net, self.task, recipe.label_smoothing)
        self.validated = validated or {"": net.largest}
        outputs = net.largest.input.outputs
        self.qualities: Any = nn.ModuleList(self.task.quality_metric(outputs) for _ in self.validated)
        self.elapsed_share = 0.0  # the share of `train.minutes` that is over; 0 without a limit
        self.other_metrics: Any = nn.ModuleList()  # other qualities of the whole network, and their names
        self.other_names: tuple[str, ...] = ()
        self.learning_rate_factor = 1.0  # halved after a return to an earlier checkpoint
        self.finite = torch.tensor(True)
        self.weights = tuple(self.net.parameters())  # listed once: every update needs them
        self.kept: list[Batch] = []  # of the step in progress
        self.step = 0

    def prepare_for_data(self, data: LightningDataModule) -> None:
        """Set the class weights, or the mean and the spread of the targets, from the data where recipe and task need
        them. Called before training."""
        if self.recipe.class_weights != "none":
            weights_K = class_weights(self.recipe.class_weights, cast(Data, data), self.task)
            self.losses = replace(self.losses, weights_K=weights_K)
        if self.task.standardises:
            cast(StandardisedLinear, self.net.head).set_targets(*cast(Data, data).target_statistics)

    def watch(self, named: Mapping[str, Any]) -> None:
        """Log other qualities too, as `val_NAME`: name -> torchmetrics.Metric."""
        self.other_metrics, self.other_names = nn.ModuleList(named.values()), tuple(named)

    def configure_optimizers(self) -> Optimizer:
        return make_optimizer(self.net, self.recipe)

    def on_train_start(self) -> None:
        """Set weight decay and momentum as the recipe has them: a checkpoint restores those that it was made with."""
        ours = make_optimizer(self.net, self.recipe).param_groups
        for group, wanted in zip(cast(Optimizer, self.optimizers()).param_groups, ours, strict=True):
            group.update({name: wanted[name] for name in ("weight_decay", "momentum") if name in wanted})

    def on_train_epoch_start(self) -> None:
        """Set the network to training mode: `recalibrate` leaves it in evaluation mode, and Lightning keeps that."""
        self.net.train()

    @property
    def steps(self) -> int:
        """The steps of the whole training: a batch each, or `accumulate` of them."""
        return self.steps_per_epoch * self.recipe.epochs

    @property
    def steps_per_epoch(self) -> int:
        return -(-int(self.trainer.num_training_batches) // self.recipe.accumulate)

    @property
    def epochs_done(self) -> float:
        """The epochs of the training so far, its interruptions included; a part of one where time was over in it."""
        return float(self.trainer.fit_loop.total_batch_idx + 1) / float(self.trainer.num_training_batches)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Keep the batch; with the last one of a step, learn from all that were kept."""
        self.kept.append(batch)
        last = batch_idx + 1 == self.trainer.num_training_batches
        if not last and (batch_idx + 1) % self.recipe.accumulate:
            return None
        batches, self.kept = self.kept, []
        self.step = self.current_epoch * self.steps_per_epoch + batch_idx // self.recipe.accumulate
        images = sum(len(x_BCHW) for x_BCHW, _ in batches)
        randomness = random.Random(f"{self.seed} {self.current_epoch} {batch_idx} {self.global_rank}")
        devices = [self.device] if self.device.type == "cuda" else []
        # Random numbers of a step depend on its place alone, so a resumed run repeats them.
        with threads_for(1e6 * self.net.largest.macs_m * len(batch[0])), torch.random.fork_rng(devices):
            torch.manual_seed(randomness.getrandbits(63))
            loss = self.learn(batches, self.step, self.apply_gradients)
        self.log("train_loss", loss, batch_size=images)
        return loss

    def learn(self, batches: Sequence[Batch], step: int, update: Callable[[Tensor], None]) -> Tensor:
        """Train on the batches of one step; return the loss on their targets. `update(loss)` is called after each
        network's backward pass."""
        return self.learn_targets(batches, update)[0]

    def learn_targets(self, batches: Sequence[Batch], update: Callable[[Tensor], None]) -> tuple[Tensor, list[Tensor]]:
        """Train the largest network on targets. Return its loss, and its output for each batch."""
        losses, outputs = zip(*(self._learn_batch(batch, len(batches)) for batch in batches), strict=True)
        loss = torch.stack(losses).mean()
        update(loss)
        return loss, list(outputs)

    def _learn_batch(self, batch: Batch, batches: int) -> tuple[Tensor, Tensor]:
        loss, output_B = self.target_loss(*batch)
        self.manual_backward(loss / batches)
        return loss.detach(), output_B.detach()

    def apply_gradients(self, loss: Tensor) -> None:
        """Make a step of the optimiser with the gradients so far, averaged over ranks and clipped; then clear them.

        Raises NonFiniteLoss as `check_finite` does."""
        optimizer = cast(Optimizer, self.optimizers())
        loss = average_gradients(self.weights, loss)
        step = max(self.step, int(self.elapsed_share * self.steps))
        rate = learning_rate(self.recipe, step, self.steps) * self.learning_rate_factor
        for group in optimizer.param_groups:
            group["lr"] = rate
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.recipe.clip_norm)
        self.finite = self.finite.to(loss.device) & loss.isfinite() & norm.isfinite()
        if self.may_synchronise(self.step):
            self.check_finite()
        optimizer.step()
        optimizer.zero_grad()

    def may_synchronise(self, step: int) -> bool:
        """Return whether to wait for the device at this step: always on a CPU, seldom on a GPU, which works ahead."""
        return self.device.type == "cpu" or step % CHECK_EVERY == 0

    def check_finite(self) -> None:
        """Raise NonFiniteLoss if any step since the start had a loss or gradient that was not finite."""
        if not self.finite:
            raise NonFiniteLoss(f"loss or gradient is not finite near step {self.step}")

    def target_loss(self, x_BCHW: Tensor, target_B: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of the largest network on targets, regularised by drop path and mixing, and its output (B, ...)."""
        mixed = mix(x_BCHW, target_B, self.recipe, has_maps=self.task.target_fill is not None)
        output_B = self.net(mixed.images_BCHW, drop_path=self.recipe.drop_path)
        return mixed.loss(self.losses.on_targets, output_B), output_B

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["learning_rate_factor"] = self.learning_rate_factor

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.learning_rate_factor = min(self.learning_rate_factor, checkpoint["learning_rate_factor"])

    def on_validation_model_eval(self) -> None:
        """Validate a supernet, which has no running statistics, with those of the batch; search recalibrates them."""
        self.net.train(self.net.is_supernet)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x_BCHW, target_B = batch
        for (end, arch), metric in zip(self.validated.items(), self.qualities, strict=True):
            with threads_for(1e6 * arch.macs_m * len(x_BCHW)):
                output_B = self.net(x_BCHW, arch)
                metric.update(output_B, target_B)  # to call it would compute the quality of the batch too
            name = f"{self.task.logged_quality}{end}"
            self.log(name, metric, on_epoch=True, on_step=False, batch_size=len(x_BCHW))
            if arch == self.net.largest:
                for other, other_metric in zip(self.other_names, self.other_metrics, strict=True):
                    other_metric.update(output_B, target_B)
                    self.log(f"val_{other}", other_metric, on_epoch=True, on_step=False, batch_size=len(x_BCHW))


class Supernet(FFNetModule):
    """Trains the supernet of a search space."""

    def __init__(self, space: SearchSpace, recipe: TrainSection, seed: int = 0) -> None:
        validated = {"_largest": space.largest, "_smallest": space.smallest}
        super().__init__(MetaMixer.for_space(space, recipe.form), recipe, seed, validated)
        self.space, self.draws = space, SubnetworkDraws(space, seed)

    def learn(self, batches: Sequence[Batch], step: int, update: Callable[[Tensor], None]) -> Tensor:
        """Train the largest network and the sampled ones, with an update each."""
        loss, outputs = self.learn_targets(batches, update)
        soft_targets = [self._soft_target(*pair) for pair in zip(batches, outputs, strict=True)]
        for arch in self.draws.of_step(step, self.recipe.sampled):
            total = torch.zeros_like(loss)
            for (x_BCHW, target_B), soft_target_B in zip(batches, soft_targets, strict=True):
                part = self.shared_loss(self.net(x_BCHW, arch), target_B, soft_target_B) / len(batches)
                self.manual_backward(part)
                total += part.detach()
            update(total)
        return loss

    def _soft_target(self, batch: Batch, output_B: Tensor) -> Tensor:
        if self.recipe.mixes:  # the others see unmixed images, and so must the teacher
            with torch.no_grad():
                output_B = self.net(batch[0])
        return self.losses.soft_target(output_B, batch[1])

    def shared_loss(self, output_B: Tensor, target_B: Tensor, soft_target_B: Tensor) -> Tensor:
        """The loss of a sub-network: the share `train.labels` on the data's targets, the rest on soft targets."""
        share = self.recipe.labels
        loss = torch.zeros((), device=output_B.device)
        if share < 1:
            loss = loss + (1 - share) * self.losses.distance(output_B, soft_target_B)
        if share > 0:
            loss = loss + share * self.losses.on_targets(output_B, target_B)
        return loss


class Standalone(FFNetModule):
    """Trains one network, from scratch or from the weights of a supernet; with `distillation` by two losses."""

    def __init__(
        self, net: MetaMixer, recipe: TrainSection, seed: int = 0, distillation: Distillation | None = None
    ) -> None:
        super().__init__(net, recipe, seed)
        self.distillation = distillation

    def target_loss(self, x_BCHW: Tensor, target_B: Tensor) -> tuple[Tensor, Tensor]:
        """The loss on targets, mixed with the distance from the teacher, and the output (B, ...)."""
        loss, output_B = super().target_loss(x_BCHW, target_B)
        if self.distillation is None:
            return loss, output_B
        share = self.distillation.share
        soft_target_B = self.losses.soft_target(self.distillation.output(x_BCHW), target_B)
        student_B = self.net(x_BCHW) if self.recipe.mixes else output_B  # on the images that the teacher sees
        return (1 - share) * loss + share * self.losses.distance(student_B, soft_target_B), output_B

    def on_validation_epoch_start(self) -> None:
        """Recalibrate the BN statistics: running averages lag by some twenty steps, and mislead early stopping."""
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            images_NCHW = data.calibration.to(self.device)
            with threads_for(1e6 * self.net.largest.macs_m * min(len(images_NCHW), BATCH)):
                recalibrate(self.net, images_NCHW)
