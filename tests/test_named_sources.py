"""A check reads the source of the classes that a sweep names, and says what a run says; it imports none of them."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import call, user_error
from forgotten import forgotten
from small_sweeps import sweep_of
from trial_sweeps import own_sweep

from ffnet_search.config.sweep import Sweep
from ffnet_search.engines.registry import engine_of
from ffnet_search.errors import SweepError
from ffnet_search.imports.consent import ForeignImports, foreign_imports
from ffnet_search.imports.module_source import syntax_error
from ffnet_search.imports.source_class import SourceClass, source_class
from ffnet_search.plugins import find_class
from ffnet_search.run.check import check_classes, check_sweep
from ffnet_search.run.stages import STAGES

CODE = """
from __future__ import annotations
import torch
import lightning.pytorch as pl
from lightning import Callback, LightningDataModule
from lightning.pytorch.loggers import Logger
from optuna.samplers import RandomSampler

class Small(pl.LightningModule):
    def __init__(self, width: int, kernel: int = 5, *, rate: float = 0.01) -> None:
        super().__init__()
    def training_step(self, batch): ...
    def configure_optimizers(self): ...

class Smaller(Small):
    pass

class Loads:
    def train_dataloader(self): ...

class Waves(Loads, LightningDataModule):
    def __init__(self, noise=0.5):
        super().__init__()

class Bare(pl.LightningModule):
    def __init__(self, width): super().__init__()

class Stepping(Bare):
    def training_step(self, batch): ...

class Alone(Stepping):
    automatic_optimization = False

class Setting(Stepping):
    def __init__(self, width):
        super().__init__(width)
        self.configure_optimizers = lambda: None

class Still(LightningDataModule):
    def val_dataloader(self): ...

class Fed(Loads, Small): ...

class Watch(Callback):
    def __init__(self, every): ...

class Notes(Logger):
    name, version = "notes", 0
    def __init__(self, save_dir, name=None): ...
    def log_metrics(self, metrics, step=None): ...
    def log_hyperparams(self, params): ...

class Draws(RandomSampler):
    def __init__(self, strength: int = 1, seed: int | None = None) -> None: ...

class Blur:
    def __init__(self, sigma=1.0): ...
    def __call__(self, image): ...

class Given(torch.nn.Module):
    def __init__(self, *, file): super().__init__()

Made = type("Made", (Small,), {})

def decorated(cls): return cls

@decorated
class Open(Small): ...
"""
SPACE = {"hyperparameters": {"module.width": [4, 8]}}
OWN_SAMPLER = {"class_path": "own_code:Draws", "init_args": {"strenght": 2}}
MODULE = {"class_path": "own_code:Small", "init_args": {"kernel": 3}}
OWN: dict[str, Any] = {"module": MODULE, "data": {"name": "own_code:Waves"}}
MISTAKES: dict[str, dict[str, Any]] = {
    "a module": {"module": "own_code:Smal"},
    "its argument": {"module": {"class_path": "own_code:Smaller", "init_args": {"kernal": 3}}},
    "an argument of the search": {"search_space": {"hyperparameters": {"module.widht": [4]}}},
    "an argument too few": {"search_space": {"hyperparameters": {"epochs": [1, 2]}}},
    "no step": {"module": "own_code:Bare"},
    "no optimiser": {"module": "own_code:Stepping"},
    "no training data": {"data": {"name": "own_code:Still"}},
    "data": {"data": {"name": "own_code:Wave"}},
    "arguments of data": {"data": {"name": "own_code:Waves", "init_args": {"noize": 1}}},
    "no module of this program": {"module": "ffnet_search.nothing:Net"},
    "a module of this program": {"module": "ffnet_search.forecasting.forecaster:Forecasts"},
}
OF_FFNETS: dict[str, dict[str, Any]] = {
    "a callback": {"train": {"callbacks": ["own_code:Wach"]}},
    "a callback of Lightning": {"train": {"callbacks": ["lightning.pytorch.callbacks:EarlyStoping"]}},
    "arguments of a callback": {"train": {"callbacks": ["own_code:Watch"]}},
    "a logger": {"train": {"loggers": ["own_code:Note"]}},
    "arguments of a logger": {"search": {"loggers": [{"class_path": "own_code:Notes", "init_args": {"nam": "x"}}]}},
    "a sampler": {"search": {"sampler": "own_code:Drawing"}},
    "arguments of a sampler": {"search": {"sampler": OWN_SAMPLER}},
    "an engine": {"search": {"engine": "own_code:Threads"}},
    "a backend": {"latency": {"backend": "own_code:Phone"}},
    "a format": {"export": {"formats": ["own_code:Weights"]}},
    "a transform": {"data": {"augment": {"transforms": ["own_code:Blurs"]}}},
    "arguments of a transform": {"data": {"augment": {"transforms": [{"class_path": "own_code:Blur", "init_args": {"s": 1}}]}}},  # noqa: E501
    "a baseline": {"report": {"baselines": ["own_code:Gave"]}},
    "arguments of a baseline": {"report": {"baselines": ["own_code:Given"]}},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "own_code.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    with forgotten("own_code"):
        yield tmp_path


def refused(folder: Path, mistake: dict[str, Any], *, own: bool) -> tuple[str, str]:
    """The sentence of a check that may import nothing of the user's, and that of a run."""
    sweep = own_sweep(folder, SPACE["hyperparameters"], **{**OWN, **mistake}) if own else sweep_of(folder, mistake)
    with foreign_imports(ForeignImports.REFUSED), pytest.raises(SweepError) as checked:
        check_sweep(sweep)
    assert "own_code" not in sys.modules
    with pytest.raises(SweepError) as ran:
        begin(sweep)
    return str(checked.value), str(ran.value)


def begin(sweep: Sweep) -> None:
    """What a run does first."""
    check_classes(sweep, list(STAGES))
    engine_of(sweep)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_ones_own_network_is_told_as_a_run_tells_it(folder: Path, mistake: str) -> None:
    checked, ran = refused(folder, MISTAKES[mistake], own=True)
    assert checked == ran


@pytest.mark.parametrize("mistake", OF_FFNETS)
def test_a_mistake_in_another_class_is_told_as_a_run_tells_it(folder: Path, mistake: str) -> None:
    checked, ran = refused(folder, OF_FFNETS[mistake], own=False)
    assert checked == ran


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (
            "no step",
            "Bare must define training_step (returns the loss of a batch) and configure_optimizers (returns an",
        ),
        (
            "no optimiser",
            "Stepping must define configure_optimizers (returns an optimiser of its parameters), but does",
        ),
        ("no training data", "Still must define train_dataloader (returns the batches of an epoch), but does not, so"),
    ],
)
def test_a_class_that_cannot_be_trained_is_told_what_to_define(folder: Path, mistake: str, words: str) -> None:
    assert words in refused(folder, MISTAKES[mistake], own=True)[0]


def test_sound_classes_pass(folder: Path) -> None:
    check_sweep(own_sweep(folder, SPACE["hyperparameters"], **OWN))
    for own in ({"module": "own_code:Alone"}, {"module": "own_code:Setting"}):
        check_sweep(own_sweep(folder, {"module.width": [4]}, **{**OWN, **own}))
    fed = own_sweep(folder, {"module.width": [4]}, module="own_code:Fed", data={"name": "own_code:Still"})
    check_sweep(fed)
    for module in ("own_code:Made", "own_code:Open"):  # of which the source tells nothing
        check_sweep(own_sweep(folder, {"module.any": [1]}, **{**OWN, "module": module}))
    train = {"callbacks": [{"class_path": "own_code:Watch", "init_args": {"every": 2}}], "loggers": ["own_code:Notes"]}
    check_sweep(
        sweep_of(
            folder,
            {"train": train, "report": {"baselines": [{"class_path": "own_code:Given", "init_args": {"file": "x"}}]}},
        )
    )
    assert "own_code" not in sys.modules


@pytest.mark.parametrize(
    "path",
    [
        "lightning.pytorch.callbacks:StochasticWeightAveraging",
        "lightning.pytorch.loggers:CSVLogger",
        "ffnet_search.forecasting.series:Series",
        "torch.nn:Linear",
        "own_code:Smaller",
        "own_code:Draws",
    ],
)
def test_a_source_has_the_arguments_of_its_class(folder: Path, path: str) -> None:
    found = source_class(path)
    assert isinstance(found, SourceClass) and found.signature is not None
    ours, theirs = ([(one.name, one.kind, one.default is one.empty) for one in signature.parameters.values()]
                    for signature in (found.signature, inspect.signature(find_class(path, "x"))))  # fmt: skip
    assert ours == theirs


OPEN = [
    "def make():\n    global Net\n    Net = object\nmake()",
    "import sys\nsys.modules[__name__] = object()",
    "from none import *",
    "def __getattr__(name): ...",
    "globals()['Net'] = object",
    "from none import Net",
    "Net = 1",
    "(",
]


@pytest.mark.parametrize(
    "code", [*OPEN, "class Net: ...\nclass Net: ...", "x = " + "-" * 90_000 + "1", "x" + ".a" * 90_000]
)
def test_what_a_source_leaves_open_is_not_refused(folder: Path, code: str) -> None:
    (folder / "own_code.py").write_text(code)
    assert source_class("own_code:Net") is None


def test_a_module_that_cannot_be_compiled_is_told_as_a_run_tells_it(folder: Path) -> None:
    (folder / "own_code.py").write_text("class Small:\n    width = = 3\n")
    assert syntax_error("own_code:Small") is not None
    checked, ran = refused(folder, {"train": {"callbacks": ["own_code:Watch"]}}, own=False)
    assert checked == ran and checked.endswith("own_code.py, line 2)") and "SyntaxError: invalid syntax" in checked


def test_the_command_imports_where_it_is_allowed(folder: Path) -> None:
    (folder / "own_code.py").write_text(CODE.replace("def __call__", "def call"))
    sweep_of(folder, {"data": {"augment": {"transforms": ["own_code:Blur"]}}})
    assert call("check", "tiny.yaml", cwd=folder).returncode == 0
    assert "own_code:Blur must have __call__" in user_error("check", "tiny.yaml", "--allow-imports", cwd=folder)
