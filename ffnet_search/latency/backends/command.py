"""The backend `command`: an executable that gets a model file and prints milliseconds, for a phone or a board.

    latency:
      backend: command
      init_args: {command: ./on_phone.sh {model}, device: Pixel 8}

The program runs once for each time that is needed, with the ONNX file in place of `{model}` (or as its last argument),
and with FFNET_THREADS and FFNET_SHAPE (`1x3x32x32`) in its environment. It warms up, times as it sees fit, and prints
the milliseconds of one inference as the last word of its output. An exit status other than 0 ends the profile with the
last line of its error output; earlier measurements are kept.

A sweep may be untrusted: like user-supplied classes, the program is run only with the user's consent."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import subprocess
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from ffnet_search.config.schema import Opset, Precision
from ffnet_search.errors import SweepError
from ffnet_search.files.temporary import scratch_folder
from ffnet_search.imports.consent import may_import_foreign
from ffnet_search.latency.backends.base import Backend
from ffnet_search.latency.table import MAX_MS, MIN_MS
from ffnet_search.latency.timing import RUNTIME_CLOCK, Clock, Run

if TYPE_CHECKING:
    from ffnet_search.latency.backends.model_file import Model


class Command(Backend):
    """`command`: a command line (no shell runs it), or a list of words."""

    precisions: ClassVar[tuple[Precision, ...]] = ("float32", "int8")
    command: tuple[str, ...] = Field(min_length=1)
    device: str = Field(min_length=1)  # its name, for the record
    opset: Opset = 17
    timeout: float = Field(120.0, gt=0, le=1e6)  # the most seconds that one call may take

    @field_validator("command", mode="before")
    @classmethod
    def _words(cls, command: Any) -> Any:
        return tuple(shlex.split(command)) if isinstance(command, str) else command

    @field_validator("command")
    @classmethod
    def _is_executable(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if shutil.which(command[0]) is None:
            raise ValueError(f"must begin with a program that can be run, but {command[0]!r} is none")
        return command

    def device_name(self) -> str:
        return self.device

    def clock(self, threads: int) -> Clock:
        return RUNTIME_CLOCK

    def settings(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"device", "timeout"})

    def load(self, model: Model, threads: int) -> Run:
        if not may_import_foreign():
            raise SweepError(
                f"latency.init_args.command: {shlex.join(self.command)} is not run unasked; where you trust it, add "
                "`allow_imports: true` to the sweep, or give --allow-imports"
            )
        folder = scratch_folder()
        file = Path(folder.name).absolute() / "model.onnx"
        file.write_bytes(model.onnx(self.opset))

        words = [word.replace("{model}", str(file)) for word in self.command]
        if words == list(self.command):
            words.append(str(file))
        environment = {"FFNET_THREADS": str(threads), "FFNET_SHAPE": "x".join(map(str, model.shape))}

        def run() -> float:
            return self._milliseconds(words, environment)

        weakref.finalize(run, folder.cleanup)
        return run

    def _milliseconds(self, words: list[str], environment: dict[str, str]) -> float:
        field = f"latency.init_args.command: {shlex.join(self.command)}"
        try:
            done = subprocess.run(
                words,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.timeout,
            )
        except subprocess.TimeoutExpired:
            raise SweepError(
                f"{field} must end within {self.timeout:g} s, but did not; raise latency.init_args.timeout"
            ) from None
        except OSError as error:
            raise SweepError(f"{field} cannot be run: {error.strerror}") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["nothing on its error output"])[-1]
            raise SweepError(f"{field} must end with status 0, but ended with {done.returncode}: {last}")
        printed = (done.stdout.split() or [""])[-1]
        try:
            ms = float(printed)
        except ValueError:
            ms = math.nan
        if MIN_MS <= ms <= MAX_MS:
            return ms
        raise SweepError(
            f"{field} must print the milliseconds of one inference last, within {MIN_MS:g} and {MAX_MS:g}, but "
            f"printed {printed!r}"
        )
