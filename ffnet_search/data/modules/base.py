"""The data module of a sweep for Lightning's Trainer: what training, evaluation and export need of it."""

from __future__ import annotations

from lightning.pytorch import LightningDataModule
from torch import Tensor

from ffnet_search.errors import SweepError
from ffnet_search.formatting import plural


class Data(LightningDataModule):
    """The data of training, evaluation and export. Hand it to the Trainer as `datamodule=`.

    `train_dataloader`, `val_dataloader` (search validation) and `test_dataloader` (for export only) give tuples of
    normalised images, float32 (B, C, H, W), and targets (B, ...) of the task."""

    outputs: tuple[str, ...]  # names of a network's outputs, in their order
    train_images: int  # without search validation
    order_seed: int  # of the order and the augmentation of training images; the seed of the split, unless it is changed

    @property
    def calibration(self) -> Tensor:
        """Training images without augmentation, normalised, in memory: float32 (N, C, H, W)."""
        raise NotImplementedError

    @property
    def fingerprint(self) -> str:
        """The sha256 of the content and of its split."""
        raise NotImplementedError

    @property
    def class_counts(self) -> Tensor:
        """Counts of what has each class, and has it not, in the training images, int64 (2, K): `Task.class_counts`."""
        raise NotImplementedError

    @property
    def target_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and spread of each target, float32 (K,), of training images; for tasks that standardise them."""
        raise NotImplementedError

    @property
    def rank(self) -> tuple[int, int]:
        """This process's rank, and the number of ranks that train together."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def share_of_batch(self, batch_size: int, images: int) -> int:
        """The images of a batch that each rank has, together at most `batch_size`. Raises SweepError for none."""
        _, ranks = self.rank
        if images < ranks:
            raise SweepError(
                f"train.devices must be <= the {plural(images, 'image')} of training, but {ranks} devices share each "
                "batch; lower it or add images"
            )
        return min(batch_size, images) // ranks
