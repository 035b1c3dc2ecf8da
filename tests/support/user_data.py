"""User-supplied LightningDataModules."""

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    """Augments by drawing from torch's generator, as transforms do."""

    def __init__(self, images, labels, noise):
        self.images, self.labels, self.noise = images, labels, noise

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index]
        return image + self.noise * torch.randn(image.shape), self.labels[index]


class MyData(LightningDataModule):
    def __init__(self, images=120, noise=0.0, workers=0):
        super().__init__()
        self.images, self.noise, self.workers = images, noise, workers

    def setup(self, stage):
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(self.images + 40, 3, 8, 8, generator=generator)
        self.y = torch.arange(len(self.x)) % 4

    def loader(self, part, noise=0.0, **kwargs):
        return DataLoader(Noisy(self.x[part], self.y[part], noise), batch_size=16, num_workers=self.workers, **kwargs)

    def train_dataloader(self):
        return self.loader(slice(0, -40), self.noise, shuffle=True)

    def val_dataloader(self):
        return self.loader(slice(-40, -20))

    def test_dataloader(self):
        return self.loader(slice(-20, None))


class NoTest(LightningDataModule):
    def train_dataloader(self): ...
    def val_dataloader(self): ...


class FloatTargets(MyData):
    def setup(self, stage):
        super().setup(stage)
        self.y = self.y.float()


class NoPairs(MyData):
    def val_dataloader(self):
        return DataLoader(self.x)


class WrongCalibration(MyData):
    calibration = torch.zeros(4, 1, 8, 8)


class ThreeClasses(MyData):
    classes = ("a", "b", "c")


class MyNumbers(MyData):
    """Two numbers in units of their own, or two labels."""

    labels = targets = ("left", "right")

    def __init__(self, task="regression", **arguments):
        super().__init__(**arguments)
        self.task = task

    def setup(self, stage):
        super().setup(stage)
        mean = self.x.mean((1, 3)) @ torch.eye(8)[:, [0, 4]]
        self.y = 1000 + 50 * mean if self.task == "regression" else (mean > 0).float()


class MyMasks(MyData):
    classes = ("sky", "tree", "house", "road")

    def setup(self, stage):
        super().setup(stage)
        self.y = (self.x.sum(1) * 4).long() % 4


class MyPhotos(MyData):
    """Photos of 12 pixels a side, and the same reduced by half."""

    def setup(self, stage):
        super().setup(stage)
        self.x = torch.rand(len(self.x), 3, 6, 6, generator=torch.Generator().manual_seed(2))
        self.y = self.x.mul(255).byte().repeat_interleave(2, 2).repeat_interleave(2, 3)


class Hooked(MyData):
    """Bytes, which a hook turns into numbers; those of training are marked."""

    def setup(self, stage):
        super().setup(stage)
        self.x = (40 * self.x + 128).clamp(0, 255).byte()

    def loader(self, part, noise=0.0, **kwargs):
        return DataLoader(list(zip(self.x[part], self.y[part], strict=True)), batch_size=16, **kwargs)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        images, labels = batch
        return images.float() / 255 + (1000 if self.trainer.training else 0), labels


TASKS = {
    "classification": MyData,
    "multilabel": MyNumbers,
    "regression": MyNumbers,
    "segmentation": MyMasks,
    "super_resolution": MyPhotos,
}
FAULTS = {
    "floats": lambda y: y.float() / 2,
    "one too far": lambda y: y + 1,
    "a column too few": lambda y: y[:, :1],
    "no columns": lambda y: y[:, 0],
    "columns": lambda y: y[:, None],
    "another size": lambda y: y[..., ::2, ::2],
    "not finite": lambda y: y / 0,
}


class Broken(LightningDataModule):
    """Targets that are none of the task, in one of the splits."""

    def __init__(self, task, fault, split):
        super().__init__()
        self.task, self.fault, self.split = task, fault, split

    def setup(self, stage):
        kind = TASKS[self.task]
        self.whole = kind(task=self.task) if kind is MyNumbers else kind()
        self.whole.setup(stage)

    def loader(self, split):
        whole, targets = getattr(self.whole, f"{split}_dataloader")(), self.whole.y
        if self.split == split:
            whole = DataLoader(list(zip(self.whole.x, FAULTS[self.fault](targets), strict=True)), batch_size=16)
        return whole

    def train_dataloader(self):
        return self.loader("train")

    def val_dataloader(self):
        return self.loader("val")

    def test_dataloader(self):
        return self.loader("test")


class LateFault(MyData):
    """The labels of the last images are none."""

    def setup(self, stage):
        super().setup(stage)
        self.y[self.images - 20 : self.images] = 7


class Streamed(MyData):
    """A loader without a length."""

    def val_dataloader(self):
        return iter(list(super().val_dataloader()))


class NoImages(MyData):
    def test_dataloader(self):
        return self.loader(slice(0, 0))
