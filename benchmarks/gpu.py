"""All that is to be known on a GPU, in steps of at most eight minutes that resume, into one table.

    python benchmarks/gpu.py [--data data/cifar-10-batches-py] [--minutes 8] [--steps parity ...] [--out FOLDER]

Each call works for `--minutes` and does what is still missing, in the order below; give the same command until it says
that all is done. A step that fails is named with its reason, the others go on, and the next call tries it last.
`table.md` and `results.json` are written to `--out`, the environment variable OUT or runs/gpu/out, after each figure;
what resumes (checkpoints, journals) to `--work`, which must outlast a call. Where it does not, since each call gets
another machine, `--earlier FOLDER` continues from the `--out` of the call before, which holds all that is worth keeping
in eight files. Without `--data` the digits of scikit-learn take the place of CIFAR-10: the speeds are then of tiny
networks. Where a GPU is lent for a quarter of an hour, `--supernet-minutes 3 --retrain-epochs 4 --minutes 6`, twice,
has a short form of everything. Steps:

    parity      elastic = sliced = fused on this device in fp32, against the CPU, and what bf16 changes
    step        a sandwich step, its images/s, its ratio to the networks alone; no host synchronisation within a step
    depthwise   depthwise convolutions against a copy of as many bytes
    latency     the latency table of this device (CUDA graphs), with its held-out error
    supernet    CIFAR-10, `--supernet-minutes` (20) by the measured speed of a step
    evaluation  candidates/s on the supernet: one worker, and two at a time with a quarter of the memory each
    front       networks of a search, retrained, and FFNets scaled by hand at equal latency by the same recipe
    compile     torch.compile and CUDA graphs against eager: training step of one network, inference; the compilers may
                take minutes, so it is last

It needs torch, lightning, torchmetrics, numpy, scipy, scikit-learn, rich, safetensors, pyyaml and pydantic; neither
optuna nor ray. Where a machine with a GPU has all but pydantic and no network, carry wheels for its Python, beside this
repository, and put them on the path there:

    pip download -d wheels --only-binary :all: --python-version 3.12 --platform manylinux2014_x86_64 pydantic
    pip install --no-index --no-deps --target site wheels/*.whl; export PYTHONPATH=site

`--device cpu --tiny` runs the whole flow in a minute, with amounts that measure nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import product
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from ffnet_search.atomic_write import write_text  # noqa: E402
from ffnet_search.config.schema import LatencySection  # noqa: E402
from ffnet_search.config.sweep import Sweep  # noqa: E402
from ffnet_search.evaluation.inherited import Evaluator, quality  # noqa: E402
from ffnet_search.latency.build import profile  # noqa: E402
from ffnet_search.latency.table import LatencyTable  # noqa: E402
from ffnet_search.models.bn_calibration import recalibrate  # noqa: E402
from ffnet_search.models.deployed import deployed, fuse  # noqa: E402
from ffnet_search.models.metamixer import MetaMixer  # noqa: E402
from ffnet_search.models.saved import read_supernet  # noqa: E402
from ffnet_search.pareto.candidate import Candidate  # noqa: E402
from ffnet_search.pareto.front import pareto_front  # noqa: E402
from ffnet_search.progress import say  # noqa: E402
from ffnet_search.space.architecture import Architecture, Stem  # noqa: E402
from ffnet_search.space.block import Block  # noqa: E402
from ffnet_search.space.hyperparameters import Configuration  # noqa: E402
from ffnet_search.space.search_space import SearchSpace  # noqa: E402
from ffnet_search.tasks.base import task_of  # noqa: E402
from ffnet_search.training.fit import sweep_data, train_architecture, train_supernet  # noqa: E402
from ffnet_search.training.modules import CHECK_EVERY, FFNetModule, Standalone, Supernet, make_optimizer  # noqa: E402
from ffnet_search.training.trainer import run_trainer  # noqa: E402

TINY_SPACE = {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stem": {"width": 8, "stride": 2},
    "stages": [
        {"depth": [1, 2], "width": [8, 16], "token_kernel": 3, "channel_kernel": 3, "expansion": [1, 2]},
        {"depth": [1, 2], "width": [16, 24], "token_kernel": 3, "channel_kernel": 3, "expansion": 1},
    ],
}  # fmt: skip
QUARTER = 0.25  # of a GPU's memory, for each of two workers
AGAIN_S = 10.0  # from one alarm to the next, after the end of a call: one in a destructor of Python's is lost
EMA = 0.99  # of the weights, so that what it costs is looked at too
CLEARED = 1 << 30  # bytes that are cleared before a kernel is timed: a third of a millisecond
KEPT = (
    "results.json",
    "epochs.json",
    "picks.json",
    "front.json",
    "gpu/supernet.ckpt",
    "gpu/training/last.ckpt",
    "gpu/latency/gpu.json",
)
Rows = list[tuple[str, str]]  # what, figure


class OutOfTime(BaseException):
    """The minutes of this call are over."""


@dataclass(frozen=True)
class Amounts:
    """How much is measured."""

    architectures: int = 20
    batch: int = 256
    rounds: int = 50
    warm_up: int = 3
    candidates: int = 200
    searched: int = 600
    retrain_epochs: int = 1
    budgets: int = 3  # of latency, at which networks are compared
    kernels: tuple[int, ...] = (3, 5, 7)
    shapes: tuple[tuple[int, int], ...] = ((64, 32), (128, 16), (256, 8))  # channels, side
    latency: dict[str, Any] = field(default_factory=lambda: {"rounds": 7, "calibration": 40, "held_out": 20})


TINY = Amounts(2, 256, 1, 1, 2, 2, 1, 1, (3,), ((8, 8),), {"rounds": 3, "calibration": 4, "held_out": 20})


class Record:
    """What is known, in a file. `steps`: rows, device, date and seconds of each that has ended. `figures`: by what they
    are, those of steps in progress among them. `failed`: the reason of each step that did not end, but for its time."""

    def __init__(self, path: Path) -> None:
        content = json.loads(path.read_text()) if path.exists() else {}
        self.path = path
        self.steps: dict[str, dict[str, Any]] = content.get("steps", {})
        self.figures: dict[str, str] = content.get("figures", {})
        self.failed: dict[str, str] = content.get("failed", {})

    def write(self) -> None:
        content = {"steps": self.steps, "figures": self.figures, "failed": self.failed}
        write_text(self.path, json.dumps(content, indent=1))


@dataclass(frozen=True)
class Run:
    """One call: where, on what, how much."""

    device: torch.device
    tiny: bool
    out: Path
    work: Path
    data: Path | None
    supernet_minutes: float
    retrain_epochs: int
    record: Record

    def figure(self, what: str, measure: Callable[[], str]) -> tuple[str, str]:
        """A row, measured unless it is known; it is on disk before the next one."""
        if what not in self.record.figures:
            self.record.figures[what] = measure()
            publish(self)
        return what, self.record.figures[what]

    @property
    def amounts(self) -> Amounts:
        return TINY if self.tiny else Amounts(retrain_epochs=self.retrain_epochs)

    @property
    def space(self) -> SearchSpace:
        if self.tiny:
            return SearchSpace.model_validate(TINY_SPACE)
        name = "ffnet_digits" if self.data is None else "ffnet_cifar"
        return SearchSpace.from_yaml(REPO / "search_spaces" / f"{name}.yaml")

    def sweep(self, epochs: int) -> Sweep:
        """The sweep of the supernet, and of networks that are retrained with other epochs."""
        cifar = {"name": "cifar10", "path": str(self.data), "augment": {"crop": 4, "flip": True, "cutout": 8}}
        data = {"name": "digits", "augment": {"crop": 1}} if self.data is None else cifar
        content = {
            "name": "gpu",
            "runs": str(self.work),
            "search_space": self.space.model_dump(mode="json"),
            "data": {**data, "batch_size": self.amounts.batch, "calibration": 1024 if not self.tiny else 64},
            "train": {"epochs": epochs, "learning_rate": 2e-3, "warmup_epochs": min(3, epochs / 2)},
            "latency": self.section.model_dump(),
        }
        return Sweep.model_validate(content)

    @property
    def section(self) -> LatencySection:
        """How latency is measured on this device."""
        init_args = {"device_type": self.device.type, "mode": self.mode}
        more = {"noisy": True, "min_within_10": 0.0, **self.amounts.latency}
        return LatencySection(name="gpu", backend="torch", init_args=init_args, **more)

    @property
    def mode(self) -> str:
        """How networks are run: small ones need CUDA graphs."""
        return "cuda_graph" if self.is_cuda else "eager"

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def table(self) -> Path:
        return self.sweep(1).files.latency_table(self.section)

    @property
    def name(self) -> str:
        return torch.cuda.get_device_name() if self.is_cuda else f"CPU {platform.machine()}"

    def wait(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize()

    def autocast(self, enabled: bool = True, cached: bool = True) -> torch.autocast:
        """bf16 where `enabled`. `cached`: cast weights are kept within the block, which a CUDA graph must not do."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=cached)

    def images(self, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Normal noise and labels, on the device."""
        shape = self.space.images
        generator = torch.Generator().manual_seed(seed)
        x_BCHW = torch.randn(count, shape.channels, shape.resolution, shape.resolution, generator=generator)
        target_B = torch.arange(count) % shape.outputs
        return x_BCHW.to(self.device).contiguous(memory_format=torch.channels_last), target_B.to(self.device)

    def milliseconds(self, work: Callable[[], object]) -> float:
        """The median of many calls, after some that warm up; the device is waited for."""
        taken, warm_up = [], self.amounts.warm_up
        for index in range(warm_up + self.amounts.rounds):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            if index >= warm_up:
                taken.append(1e3 * (time.perf_counter() - start))
        return statistics.median(taken)

    def kernel_milliseconds(self, work: Callable[[], object]) -> float:
        """The same, of the device alone: the host runs ahead while a large buffer is cleared, which also empties the
        cache, so that no call waits for its launch and each reads memory."""
        if not self.is_cuda:
            return self.milliseconds(work)
        buffer = torch.empty(CLEARED, dtype=torch.uint8, device=self.device)
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(self.amounts.rounds)]
        for _ in range(self.amounts.warm_up):
            work()
        for start, end in events:
            buffer.zero_()
            start.record()
            work()
            end.record()
        self.wait()
        return statistics.median(start.elapsed_time(end) for start, end in events)


@contextmanager
def exact() -> Iterator[None]:
    """Without TF32: products of float32 are of float32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@torch.no_grad()
def parity(run: Run) -> Rows:
    """The largest differences of logits over random networks, relative to the largest logit of each."""
    space, rng, kinds = run.space, random.Random(0), ("elastic - sliced", "sliced - fused", "CPU", "bf16")
    torch.manual_seed(0)
    net = MetaMixer.for_space(space)
    for parameter in net.parameters():  # fresh layer scales and biases would hide errors
        parameter.normal_(0, 0.2 if parameter.ndim == 1 else parameter[0].numel() ** -0.5)
    x_BCHW, _ = run.images(16)
    net, worst = net.to(run.device), dict.fromkeys(kinds, 0.0)
    with exact():
        for _ in range(run.amounts.architectures):
            arch = space.sample(rng)
            sliced = recalibrate(net.slice_to(arch), x_BCHW)
            net.train()
            elastic_BK = net(x_BCHW, arch)
            training_BK = sliced.train()(x_BCHW)
            sliced = recalibrate(sliced, x_BCHW)
            alone_BK, fused = sliced(x_BCHW), fuse(sliced)
            fused_BK = fused(x_BCHW)
            with run.autocast():
                half_BK = fused(x_BCHW).float()
            cpu_BK = fused.cpu()(x_BCHW.cpu()).to(run.device)
            pairs = ((elastic_BK, training_BK), (alone_BK, fused_BK), (fused_BK, cpu_BK), (fused_BK, half_BK))
            for kind, (one_BK, other_BK) in zip(kinds, pairs, strict=True):
                found = float((one_BK - other_BK).abs().max() / one_BK.abs().max())
                worst[kind] = max(worst[kind], found)
    words = {"CPU": "fused here - on the CPU", "bf16": "fused fp32 - under bf16 autocast"}
    of = f"of {run.amounts.architectures} networks of {space.name}, relative to the largest logit"
    return [(f"parity, {words.get(kind, kind)}, {of}", f"{worst[kind]:.1e}") for kind in kinds]


class Watched(Supernet):
    """A supernet in whose steps CUDA raises an error where the host waits for the device; so many were `watched`.

    From the batch on the host to the end of callbacks: its transfer, augmentation, the networks' steps, the average."""

    batches = watched = 0

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        index, training = self.batches, self.trainer.training
        self.batches += training
        if training and self.device.type == "cuda" and index > 1 and index % CHECK_EVERY != 0:
            self.watched += 1
            torch.cuda.set_sync_debug_mode("error")
        return batch

    def on_train_batch_end(self, *_: object) -> None:
        unwatched(self.device)


def unwatched(device: torch.device) -> None:
    """Let the host wait again."""
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("default")


class UnwatchedAtLast(Callback):
    """Lets the host wait for what Lightning does after an error, which would else raise another one."""

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        unwatched(module.device)


def step(run: Run) -> Rows:
    """A sandwich step against its networks alone, in bf16 on a GPU as in training; and whether the host waits."""
    space, recipe = run.space, run.sweep(1).train
    x_BCHW, target_B = run.images(run.amounts.batch)
    supernet = Supernet(space, recipe).to(run.device)
    archs = (space.largest, *supernet.draws.of_step(0, recipe.sampled))
    modules: list[FFNetModule] = [supernet]
    modules += [Standalone(supernet.net.slice_to(arch).train(), recipe).to(run.device) for arch in archs]
    times = [run.milliseconds(stepper(run, module, x_BCHW, target_B)) for module in modules]
    images = len(x_BCHW) / times[0] * 1e3
    of = f"{space.name}, batch {len(x_BCHW)}"
    rows = [
        (f"sandwich step of {of}: ms, images/s", f"{times[0]:.2f}, {images:,.0f}"),
        ("sandwich step / its networks alone", f"{times[0] / sum(times[1:]):.2f}"),
    ]
    if run.is_cuda:
        rows.append(("memory of all these steps, peak", f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"))
    return [*rows, synchronisation(run)]


def stepper(run: Run, module: FFNetModule, x_BCHW: Tensor, target_B: Tensor) -> Callable[[], None]:
    """A training step outside of a Trainer, always of the same networks."""
    module.manual_backward = torch.Tensor.backward  # type: ignore[method-assign, assignment]
    optimizer = make_optimizer(module.net.named_parameters(), module.recipe)

    def update(loss: Tensor) -> None:
        torch.nn.utils.clip_grad_norm_(module.net.parameters(), module.recipe.clip_norm)
        optimizer.step()
        optimizer.zero_grad()

    def work() -> None:
        with run.autocast(run.is_cuda):
            module.learn([(x_BCHW, target_B)], 0, update)

    return work


def synchronisation(run: Run) -> tuple[str, str]:
    """Whether the host waits for the device within steps of a Trainer."""
    sweep = run.sweep(1)
    recipe = sweep.train.model_copy(update={"ema": EMA})
    module, folder = Watched(sweep.search_space, recipe), run.work / "watched"
    shutil.rmtree(folder, ignore_errors=True)
    what = "host synchronisation within the steps of a Trainer"
    try:
        run_trainer(module, sweep_data(sweep), recipe, folder, [UnwatchedAtLast()])
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
        return what, f"found at {' < '.join(reversed(places[-4:]))}"
    finally:
        unwatched(run.device)
        shutil.rmtree(folder, ignore_errors=True)
    looked = f"none in {module.watched} steps" if module.watched else "not looked for: too few steps"
    return what, looked if run.is_cuda else "not looked for on a CPU"


def compile_step(run: Run) -> Rows:
    """Milliseconds of the largest network of the space: a training step, and inference of one image and of a batch."""
    arch, rows = run.space.largest, []
    x_BCHW, target_B = run.images(run.amounts.batch)
    for name, make in (("eager", None), ("CUDA graph", _graphed), ("torch.compile", _compiled)):
        if make is _graphed and not run.is_cuda:
            continue
        net = MetaMixer(arch).to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        what = f"training step of {arch.key}, batch {len(x_BCHW)}: {name}"
        rows.append(run.figure(what, partial(_trained, run, net, make, x_BCHW, target_B)))
    for count in (1, run.amounts.batch):
        for mode in ("eager", "cuda_graph", "compile") if run.is_cuda else ("eager",):
            what = f"inference of {arch.key}, batch {count}: {mode}"
            rows.append(run.figure(what, lambda mode=mode, count=count: f"{_inferred(run, arch, mode, count):.3f} ms"))
    return rows


def _compiled(run: Run, work: Callable[[], Tensor]) -> Callable[[], object]:
    compiled: Callable[[], object] = torch.compile(work, backend="eager" if run.tiny else "inductor")
    return compiled


def _graphed(run: Run, work: Callable[[], Tensor]) -> Callable[[], object]:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def _trained(
    run: Run,
    net: MetaMixer,
    make: Callable[[Run, Callable[[], Tensor]], Callable[[], object]] | None,
    x_BCHW: Tensor,
    target_B: Tensor,
) -> str:
    """Milliseconds of forward, backward and the optimiser's step."""
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, capturable=run.is_cuda, foreach=True)

    def loss() -> Tensor:
        with run.autocast(run.is_cuda, cached=False):
            return nn.functional.cross_entropy(net(x_BCHW), target_B)

    forward = make(run, loss) if make is _compiled else loss

    def work() -> Tensor:
        optimizer.zero_grad(set_to_none=True)  # a graph's replay then writes gradients, and adds to none
        value = forward()
        assert isinstance(value, Tensor)
        value.backward()
        optimizer.step()
        return value

    start = time.perf_counter()
    whole = make(run, work) if make is _graphed else work
    whole()  # which compiles
    run.wait()
    first = time.perf_counter() - start
    return f"{run.milliseconds(whole):.2f} ms (the first took {first:.1f} s)"


def _inferred(run: Run, arch: Architecture, mode: str, count: int) -> float:
    from ffnet_search.latency.backends.model_file import Model
    from ffnet_search.latency.backends.pytorch import Torch

    shape = arch.input
    model = Model(lambda: deployed(arch), (count, shape.channels, shape.resolution, shape.resolution), None)
    backend = Torch(device_type=run.device.type, mode=mode, channels_last=True)  # type: ignore[arg-type]
    return run.milliseconds(backend.load(model, 1))


def depthwise(run: Run) -> Rows:
    """The share of the bandwidth of a copy that depthwise convolutions reach: bytes read and written / time."""
    rows = []
    for (channels, side), dtype in product(run.amounts.shapes, (torch.float32, torch.bfloat16)):
        of = f"{channels} x {side} x {side}, batch {run.amounts.batch}, {str(dtype).removeprefix('torch.')}"
        what = f"depthwise {of}: share of a copy's bandwidth, forward, with backward"
        rows.append(run.figure(what, partial(_bandwidth, run, channels, side, dtype)))
    return rows


def _bandwidth(run: Run, channels: int, side: int, dtype: torch.dtype) -> str:
    """The shares of a copy's bandwidth of each kernel size, and that bandwidth."""
    x_BCHW = torch.randn(run.amounts.batch, channels, side, side, device=run.device, dtype=dtype)
    x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last).requires_grad_()
    target = torch.empty_like(x_BCHW)
    copy_ms = run.kernel_milliseconds(lambda: target.data.copy_(x_BCHW.data))
    gigabytes = 2 * x_BCHW.numel() * x_BCHW.element_size() / 1e9
    shares = []
    for kernel in run.amounts.kernels:
        conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        conv = conv.to(run.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        forward_ms = run.kernel_milliseconds(lambda c=conv: c(x_BCHW.detach()))

        def both(c: nn.Module = conv) -> None:
            x_BCHW.grad = None
            c(x_BCHW).backward(target)

        # Forward reads and writes once, as a copy does; so does the gradient of the input, and that of the weights
        # reads twice: as much as three copies.
        shares.append(f"k{kernel} {copy_ms / forward_ms:.0%}, {3 * copy_ms / run.kernel_milliseconds(both):.0%}")
    return f"{'; '.join(shares)} (copy {gigabytes / copy_ms * 1e3:,.0f} GB/s)"


def latency(run: Run) -> Rows:
    """The latency table of this device, measured in this process."""
    if not run.table.exists():
        profile(run.space, run.section, run.table)
    table = LatencyTable.load(run.table)
    seconds = f"{table.setting.build_seconds:.0f} s"
    return [
        (
            f"latency table of {run.space.name}, {run.section.init_args['mode']}: held out; time",
            f"{table.error}; {seconds}",
        )
    ]


def supernet(run: Run) -> Rows:
    """Train for as many epochs as fit `--supernet-minutes`, by the first epoch's speed; resumes at its checkpoint."""
    plan = run.work / "epochs.json"
    if not plan.exists():
        seconds = 0.0 if run.tiny else _epoch_seconds(run)
        epochs = 2 if run.tiny else max(2, int(60 * run.supernet_minutes / seconds))
        write_text(plan, json.dumps({"epochs": epochs, "first_epoch_s": seconds}))
    content = json.loads(plan.read_text())
    sweep = run.sweep(content["epochs"])
    if not sweep.files.supernet.exists():
        train_supernet(sweep)
    data, net = sweep_data(sweep), read_supernet(sweep.files.supernet)
    evaluator = Evaluator(net, data)
    rows = [
        (
            f"supernet of {sweep.search_space.name}: epochs, seconds of an epoch at first",
            f"{content['epochs']}, {content['first_epoch_s']:.1f}",
        )
    ]
    for name, arch in {"smallest": sweep.search_space.smallest, "largest": sweep.search_space.largest}.items():
        found = quality(fuse(evaluator.calibrated(arch)), data.test_dataloader(), evaluator.task)
        rows.append(
            (
                f"inherited by the {name} network: test {evaluator.task.quality.word}",
                evaluator.task.quality.format(found),
            )
        )
    return rows


def _epoch_seconds(run: Run) -> float:
    """Seconds of the second of two epochs in a folder that is removed."""
    ends: list[float] = []

    class Clock(Callback):
        def on_train_epoch_end(self, *_: object) -> None:
            run.wait()
            ends.append(time.perf_counter())

    sweep, folder = run.sweep(2), run.work / "timed"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        run_trainer(Supernet(sweep.search_space, sweep.train), sweep_data(sweep), sweep.train, folder, [Clock()])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ends[1] - ends[0]


def _supernet_of(run: Run) -> Path:
    path = run.sweep(1).files.supernet
    if not path.exists():
        raise FileNotFoundError(f"{path}: no supernet; run step `supernet` first, or give --earlier FOLDER")
    return path


def work_for(run: Run, seed: int, ready: Callable[[], object] = lambda: None) -> float:
    """Candidates per second of one worker, which calls `ready` when data and weights are loaded."""
    evaluator = Evaluator(read_supernet(_supernet_of(run)), sweep_data(run.sweep(1)))
    rng = random.Random(seed)
    archs = [run.space.sample(rng) for _ in range(run.amounts.candidates + 2)]
    for arch in archs[:2]:
        evaluator(Configuration(arch))
    ready()
    start = time.perf_counter()
    for arch in archs[2:]:
        evaluator(Configuration(arch))
    run.wait()
    return run.amounts.candidates / (time.perf_counter() - start)


def evaluation(run: Run) -> Rows:
    """Candidates per second: one worker in this process; two processes, each with a quarter of the GPU's memory."""
    alone = run.figure(
        f"evaluation on the supernet of {run.space.name}: candidates/s of one worker",
        lambda: f"{work_for(run, 0):.2f}",
    )
    together = run.figure(
        "two workers at a time, a quarter of the GPU's memory each: candidates/s together", partial(_two_workers, run)
    )
    return [alone, together]


def _two_workers(run: Run) -> str:
    command = [sys.executable, __file__, "--device", run.device.type, "--work", str(run.work)]
    command += (["--data", str(run.data)] if run.data else []) + (["--tiny"] if run.tiny else [])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([*command, "--worker", str(seed)], **pipes) for seed in (1, 2)]
    try:
        if any(worker.stdout.readline() != "ready\n" for worker in workers):
            raise RuntimeError("a worker ended before it was ready; its error is above")
        for worker in workers:  # both work at the same time, but for the last candidates
            worker.stdin.write("go\n")
            worker.stdin.flush()
        rates = [float(worker.communicate()[0]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return f"{sum(rates):.2f}"


def front(run: Run) -> Rows:
    """At each of three latencies: the best of a random search on the supernet, and the FFNet scaled by hand that is
    nearest below it; both trained alone by the same recipe, and the first also from what it inherits."""
    sweep, picks, done = run.sweep(run.amounts.retrain_epochs), run.work / "picks.json", run.work / "front.json"
    if not picks.exists():
        write_text(picks, json.dumps(_picks(run)))
    results: dict[str, float] = json.loads(done.read_text()) if done.exists() else {}
    rows = []
    for place, pick in enumerate(json.loads(picks.read_text())):
        for start in ("scaled by hand, from scratch", "searched, from scratch", "searched, from inherited"):
            name, key = start.partition(",")[0], f"{place} {start} {sweep.train.epochs}"
            arch, ms = Architecture.from_dict(pick[name]), pick[f"{name} ms"]
            if key not in results:
                results[key] = _retrained(run, sweep, arch, key)
                write_text(done, json.dumps(results))
                publish(run)
            what = (
                f"{start}, {sweep.train.epochs} epochs, {arch.macs_m:.4g} M MACs, {ms:.4f} ms measured: test accuracy"
            )
            rows.append((what, f"{100 * results[key]:.2f} %"))
    return rows


def _picks(run: Run) -> list[dict[str, Any]]:
    """What to train at three latencies between the least and the greatest of the front, as plain data."""
    space, rng, table = run.space, random.Random(0), LatencyTable.load(run.table)
    evaluator = Evaluator(read_supernet(_supernet_of(run)), sweep_data(run.sweep(1)))
    name = evaluator.task.quality.name
    candidates = []
    for arch in dict.fromkeys(
        [space.smallest, space.largest, *(space.sample(rng) for _ in range(run.amounts.searched))]
    ):
        found = evaluator(Configuration(arch))
        candidates.append(Candidate(arch, {**found.metrics, "latency_ms": table.predict_ms(arch)}))
    best = pareto_front(candidates, {name: "maximize", "latency_ms": "minimize"})
    ends = [pick(one.metrics["latency_ms"] for one in best) for pick in (min, max)]
    picks, times = [], dict[Architecture, float]()
    for part in range(1, run.amounts.budgets + 1):
        budget_ms = ends[0] + (ends[1] - ends[0]) * part / (run.amounts.budgets + 1)
        within = [one for one in best if one.metrics["latency_ms"] <= budget_ms]
        arch = max(within, key=lambda one: one.metrics[name]).network
        ms = _inferred(run, arch, run.mode, 1)
        hand = _scaled(run, ms, times)
        picks.append(
            {
                "searched": arch.to_dict(),
                "searched ms": ms,
                "scaled by hand": hand.to_dict(),
                "scaled by hand ms": times[hand],
            }
        )
    return picks


def _scaled(run: Run, budget_ms: float, times: dict[Architecture, float]) -> Architecture:
    """The slowest FFNet scaled by hand within a latency: one kernel and expansion, widths and depths by factors.

    As the published ones: widths double from stage to stage, and the third stage is the deepest. `times` keeps what was
    measured."""
    stages = len(run.space.largest.stages)
    block = Block("ffn_attention", 7 if run.space.images.resolution > 8 else 3, expansion=3)
    widths, depths, strides = ((8, 16), (1,), (2,)) if run.tiny else (range(8, 72, 8), (1, 2, 3), (1, 2))
    for width, depth, stride in product(widths, depths, strides):
        blocks = [depth * (2 if index == stages - 2 else 1) for index in range(stages)]
        channels = [width * 2**index for index in range(stages)]
        arch = Architecture.uniform(blocks, channels, (block,) * stages, Stem(width, stride), run.space.images)
        if arch not in times:
            times[arch] = _inferred(run, arch, run.mode, 1)
    fitting = [arch for arch, ms in times.items() if ms <= budget_ms] or [min(times, key=times.__getitem__)]
    return max(fitting, key=times.__getitem__)


def _retrained(run: Run, sweep: Sweep, arch: Architecture, key: str) -> float:
    """The accuracy on the test split of one network, trained for the epochs of `sweep`; resumes at its checkpoint."""
    data, folder = sweep_data(sweep), run.work / key.replace(" ", "-")
    if "inherited" in key:
        net = read_supernet(_supernet_of(run)).slice_to(arch)
    else:
        torch.manual_seed(0)
        net = MetaMixer(arch, sweep.train.form)
    net = train_architecture(net, data, sweep.train, folder, sweep.seed).to(run.device)
    net = recalibrate(net, data.calibration.to(run.device))
    return quality(fuse(net), data.test_dataloader(), task_of(arch.input))


STEPS: dict[str, Callable[[Run], Rows]] = {
    "parity": parity,
    "step": step,
    "depthwise": depthwise,
    "latency": latency,
    "supernet": supernet,
    "evaluation": evaluation,
    "front": front,
    "compile": compile_step,
}


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block after so many seconds, wherever it is: all steps resume."""
    is_over = False

    def end(number: int, frame: FrameType | None) -> None:
        if not is_over:
            raise OutOfTime

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, seconds), AGAIN_S)
    try:
        yield
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)


def publish(run: Run) -> None:
    """Write what is known, its table, and what a later call continues from to --out: a call may be ended from outside
    at any time."""
    record = run.record
    record.write()
    lines = [
        f"torch {torch.__version__}; tiny: the figures measure nothing" if run.tiny else f"torch {torch.__version__}"
    ]
    lines += ["", "| what | figure | device, date |", "|---|---|---|"]
    shown = set[str]()
    for name in STEPS:
        for what, figure in record.steps.get(name, {}).get("rows", []):
            lines.append(f"| {what} | {figure} | {record.steps[name]['device']}, {record.steps[name]['date']} |")
            shown.add(what)
    for what, figure in record.figures.items():
        if what not in shown:
            lines.append(f"| {what} | {figure} | {run.name}, of a step in progress |")
    lines += [f"\nfailed: {name}: {reason}" for name, reason in record.failed.items()]
    write_text(run.out / "table.md", "\n".join(lines) + "\n")
    for kept in KEPT:
        if (run.work / kept).exists():
            shutil.copyfile(run.work / kept, run.out / Path(kept).name)


def carry_on(run: Run, names: Sequence[str], minutes: float) -> int:
    """Do the steps that are missing until the minutes are over, those that failed last; return the number that failed.

    A step counts as failed from its start, so that one that ended the whole process does so last, too."""
    record = run.record
    remaining = sorted((name for name in names if name not in record.steps), key=record.failed.__contains__)
    running = ""
    try:
        with deadline(60 * minutes):
            for running in list(remaining):
                say(f"gpu: {running}")
                record.failed[running] = "the process ended"
                record.write()
                if _done(run, running):
                    remaining.remove(running)
                publish(run)
    except OutOfTime:
        record.failed.pop(running, None)
        say(f"gpu: {minutes:g} minutes are over")
    publish(run)
    for name, reason in record.failed.items():
        say(f"gpu: {name} failed: {reason}")
    say(f"gpu: missing: {', '.join(remaining)}; give the same command again" if remaining else "gpu: all is done")
    return len(record.failed)


def _done(run: Run, name: str) -> bool:
    """Do a step; return whether it ended. Another one may, where this one failed."""
    start = time.perf_counter()
    try:
        rows = STEPS[name](run)
    except Exception as error:
        traceback.print_exc()
        run.record.failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return False
    seconds = time.perf_counter() - start
    run.record.steps[name] = {"rows": rows, "device": run.name, "date": str(date.today()), "seconds": seconds}
    del run.record.failed[name]
    return True


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="the flow alone, in a minute")
    parser.add_argument("--data", type=Path, help="CIFAR-10, the official python version: folder or archive")
    parser.add_argument("--minutes", type=float, default=8.0, help="of this call")
    parser.add_argument("--supernet-minutes", type=float, default=20.0)
    parser.add_argument("--retrain-epochs", type=int, default=60, help="of each network of step `front`")
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", REPO / "runs" / "gpu" / "out")))
    parser.add_argument("--work", type=Path, default=REPO / "runs" / "gpu")
    parser.add_argument("--earlier", type=Path, help="the --out of an earlier call, whose --work is lost")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)  # a process of step `evaluation`
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before CUDA is initialised: evaluators take a GPU where there is one
        torch.set_num_threads(1)  # threads of small operators wait for each other
    device = torch.device(options.device)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "--device cuda needs a GPU that PyTorch can use, but none is available; use --device cpu --tiny"
        )
    work = options.work.absolute()
    if options.worker is None:
        options.out.mkdir(parents=True, exist_ok=True)
        _restore(work, options.earlier or options.out)
    amounts = options.supernet_minutes, options.retrain_epochs
    run = Run(device, options.tiny, options.out, work, options.data, *amounts, Record(work / "results.json"))
    if options.worker is not None:
        if run.is_cuda:
            torch.cuda.set_per_process_memory_fraction(QUARTER)
        print(work_for(run, options.worker, lambda: (print("ready", flush=True), sys.stdin.readline())))
        return
    if carry_on(run, options.steps, options.minutes):
        sys.exit(1)


def _restore(work: Path, kept: Path) -> None:
    """Bring what an earlier call has left in its --out to --work, where it is missing."""
    for name in KEPT:
        place, source = work / name, kept / Path(name).name
        if source.exists() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)


if __name__ == "__main__":
    main()
