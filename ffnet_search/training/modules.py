"""Training of a MetaMixer with shared weights: sandwich rule and in-place distillation (BigNAS, arXiv 2003.11142).

One optimiser step accumulates the gradients of the largest network (labels; the only one that is regularised), of some
sampled ones and of the smallest (the largest's soft targets, plain KL). Left out, by others' figures: alpha-divergence
(worse than KL on CIFAR-100 at all widths) and progressive shrinking (several stages for what one stage reaches).
"""

from __future__ import annotations

import random
from typing import Any, cast

import torch
from lightning import LightningModule
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy

from ffnet_search.config.schema import TrainSection
from ffnet_search.models import distributed
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.cpu_threads import threads_for
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.training.optim import learning_rate, make_optimizer

CHECK_EVERY = 20  # steps between looks at whether the loss is finite, where a look has to wait for a GPU


class NonFiniteLoss(RuntimeError):
    """Loss or gradient was infinite or not a number."""


def draw(space: SearchSpace, seed: int, step: int, count: int) -> list[Architecture]:
    """The sampled networks of a step: a function of (seed, step), so that ranks agree and a resumed run repeats."""
    rng = random.Random(f"sandwich {seed} {step}")
    return [space.sample(rng) for _ in range(count)]


class FFNetModule(LightningModule):
    """What the training of a supernet and of one network share: optimiser, schedule, guard, validation without BN
    statistics. Optimisation is manual, since a supernet's step has several backward passes."""

    def __init__(self, net: MetaMixer, recipe: TrainSection, seed: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recipe, self.seed = recipe, seed
        self.learning_rate_factor = 1.0  # halved by whoever rolls back
        self.finite = torch.tensor(True)

    def configure_optimizers(self) -> Optimizer:
        return make_optimizer(self.net.named_parameters(), self.recipe)

    def on_train_start(self) -> None:
        """A checkpoint brings the optimiser's own settings; where it is of another recipe, this one's hold."""
        ours = make_optimizer(self.net.named_parameters(), self.recipe).param_groups
        for group, wanted in zip(cast(Optimizer, self.optimizers()).param_groups, ours, strict=True):
            group.update({name: wanted[name] for name in ("weight_decay", "momentum") if name in wanted})

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        per_epoch = -(-int(self.trainer.num_training_batches) // self.recipe.accumulate)
        return per_epoch * self.recipe.epochs

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        step, last = self.global_step, batch_idx + 1 == self.trainer.num_training_batches
        randomness = random.Random(f"{self.seed} {self.current_epoch} {batch_idx} {self.global_rank}")
        devices = [self.device] if self.device.type == "cuda" else []
        # What is random in a step depends on its place alone, so a resumed run repeats it.
        with threads_for(1e6 * self.net.largest.macs_m * len(batch[0])), torch.random.fork_rng(devices):
            torch.manual_seed(randomness.getrandbits(63))
            loss = self.accumulate(*batch, step)
            if last or (batch_idx + 1) % self.recipe.accumulate == 0:
                self._step(cast(Optimizer, self.optimizers()), loss, step)
        self.log("train_loss", loss, batch_size=len(batch[0]))
        return loss

    def accumulate(self, x_BCHW: Tensor, label_B: Tensor, step: int) -> Tensor:
        """Adds the gradients of one batch and returns the loss on its labels."""
        raise NotImplementedError

    def _step(self, optimizer: Optimizer, loss: Tensor, step: int) -> None:
        loss = distributed.average_gradients(self.net.parameters(), loss)
        rate = learning_rate(self.recipe, step, self.steps) * self.learning_rate_factor
        for group in optimizer.param_groups:
            group["lr"] = rate
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip_norm)
        self.finite = self.finite.to(loss.device) & loss.isfinite() & norm.isfinite()
        if self.may_look(step):
            self.check_finite()
        optimizer.step()
        optimizer.zero_grad()

    def may_look(self, step: int) -> bool:
        """Whether to wait for the device here: at every step on a CPU, seldom on a GPU, which works ahead."""
        return self.device.type == "cpu" or step % CHECK_EVERY == 0

    def check_finite(self) -> None:
        """Raises NonFiniteLoss where any step since the start had a loss or gradient that was not finite."""
        if not self.finite:
            raise NonFiniteLoss(f"loss or gradient is not finite near step {self.global_step}")

    def smoothed(self, logits_BK: Tensor, label_B: Tensor) -> Tensor:
        return F.cross_entropy(logits_BK, label_B, label_smoothing=self.recipe.label_smoothing)

    def labelled_loss(self, x_BCHW: Tensor, label_B: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of the largest network on labels, regularised by drop path and mix-up, and its logits (B, K)."""
        recipe = self.recipe
        if not recipe.mixup:
            logits_BK = self.net(x_BCHW, drop_path=recipe.drop_path)
            return self.smoothed(logits_BK, label_B), logits_BK
        share = float(torch.distributions.Beta(recipe.mixup, recipe.mixup).sample())
        order_B = torch.randperm(len(x_BCHW), device=x_BCHW.device)
        logits_BK = self.net(x_BCHW.lerp(x_BCHW[order_B], 1 - share), drop_path=recipe.drop_path)
        loss = share * self.smoothed(logits_BK, label_B) + (1 - share) * self.smoothed(logits_BK, label_B[order_B])
        return loss, logits_BK

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["learning_rate_factor"] = self.learning_rate_factor

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.learning_rate_factor = min(self.learning_rate_factor, checkpoint["learning_rate_factor"])

    def on_validation_model_eval(self) -> None:
        """A supernet has no running statistics: it is looked at with those of the batch, and recalibrated later."""
        self.net.train(self.net.mixers is not None)


class Supernet(FFNetModule):
    """Trains the supernet of a search space.

    >>> Trainer(max_epochs=3).fit(Supernet(space, TrainSection()), datamodule=data)  # doctest: +SKIP
    """

    def __init__(self, space: SearchSpace, recipe: TrainSection, seed: int = 0) -> None:
        super().__init__(MetaMixer.for_space(space, recipe.form), recipe, seed)
        self.space = space
        classes = space.images.classes
        self.val_largest = MulticlassAccuracy(classes, average="micro")
        self.val_smallest = MulticlassAccuracy(classes, average="micro")

    def accumulate(self, x_BCHW: Tensor, label_B: Tensor, step: int) -> Tensor:
        loss, logits_BK = self.labelled_loss(x_BCHW, label_B)
        self.manual_backward(loss / self.recipe.accumulate)
        if self.recipe.mixup:  # the others see unmixed images, and so must the teacher
            with torch.no_grad():
                logits_BK = self.net(x_BCHW)
        target_BK = logits_BK.detach().softmax(-1)
        for arch in (*draw(self.space, self.seed, step, self.recipe.sampled), self.space.smallest):
            prediction_BK = self.net(x_BCHW, arch).log_softmax(-1)
            distance = F.kl_div(prediction_BK, target_BK, reduction="batchmean")
            self.manual_backward(distance / self.recipe.accumulate)
        return loss.detach()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x_BCHW, label_B = batch
        for name, metric, arch in (
            ("val_accuracy_largest", self.val_largest, self.space.largest),
            ("val_accuracy_smallest", self.val_smallest, self.space.smallest),
        ):
            metric(self.net(x_BCHW, arch), label_B)
            self.log(name, metric, on_epoch=True, on_step=False, batch_size=len(x_BCHW))


class Standalone(FFNetModule):
    """Trains one network, from scratch or from weights that it was sliced with.

    >>> Trainer(max_epochs=3).fit(Standalone(net, TrainSection()), datamodule=data)  # doctest: +SKIP
    """

    def __init__(self, net: MetaMixer, recipe: TrainSection, seed: int = 0) -> None:
        super().__init__(net, recipe, seed)
        self.val_accuracy = MulticlassAccuracy(net.largest.input.classes, average="micro")

    def accumulate(self, x_BCHW: Tensor, label_B: Tensor, step: int) -> Tensor:
        loss, _ = self.labelled_loss(x_BCHW, label_B)
        self.manual_backward(loss / self.recipe.accumulate)
        return loss.detach()

    def on_validation_epoch_start(self) -> None:
        """Running averages lag some twenty steps behind the weights: after a first epoch on few images, a good network
        would look like chance, and what ends trials early would go by that."""
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            recalibrate(self.net, data.calibration.to(self.device))

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.val_accuracy(self.net(batch[0]), batch[1])
        self.log("val_accuracy", self.val_accuracy, on_epoch=True, on_step=False, batch_size=len(batch[0]))
