"""Hosts on one machine: network namespaces on a switch of their own, each with private files, processes and an sshd.

Root only. The root namespace has no interface on the switch, so nothing leaves it. `ray stop` kills every Ray that it
can see, hence a process namespace per host; Ray keeps its state in /tmp and /dev/shm, hence private ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ("ip", "sshd", "ssh-keygen", "rsync", "unshare", "nsenter")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

INIT = r"""
set -e
hostname "$NAME"
mount --make-rprivate /
for shared in $SHARED; do
  case "$shared" in
    "$HOME_DIR"/*) at="$DIR/home${shared#$HOME_DIR}" ;;
    /tmp/*) at="$DIR/tmp${shared#/tmp}" ;;
    *) continue ;;
  esac
  mkdir -p "$at"; mount --bind "$shared" "$at"
done
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd
mount --rbind "$DIR/home" "$HOME_DIR"
mount --rbind "$DIR/tmp" /tmp
cd "$HOME_DIR"
"$SSHD" -D -e -f /dev/null -h "$HOME_DIR/.ssh/id" -o ListenAddress="$IP" -o UsePAM=no -o StrictModes=no \
  -o PermitRootLogin=prohibit-password 2> "$HOME_DIR/sshd.log" &
touch "$HOME_DIR/up"
wait
"""


def missing() -> str:
    """Why there can be no hosts here; empty where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    lacking = [tool for tool in TOOLS if shutil.which(tool, path=PATH) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    probe = subprocess.run(["unshare", "-n", "-m", "-p", "-f", "true"], capture_output=True)
    return "" if probe.returncode == 0 else "this kernel or container allows no namespaces"


class Hosts:
    """`names[0]` is where the user sits. Used as a context, at whose end nothing of it is left."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder, self.names = folder, names
        self.tag = f"ffs{os.getpid() % 10000}"
        self.address = {name: f"10.77.0.{10 + number}" for number, name in enumerate(names)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Hosts:
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def home(self, name: str) -> Path:
        """The host's home folder, as seen from outside."""
        return self.folder / name / "home"

    def run(self, name: str, command: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """A command on a host, in its home folder."""
        process = self.start(name, command)
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
            raise AssertionError(f"{command} took more than {timeout} s:\n{out}") from None
        return subprocess.CompletedProcess(command, process.returncode, out)

    def start(self, name: str, command: str) -> subprocess.Popen[str]:
        """The same without waiting; standard error is with standard output."""
        inside = ["nsenter", "-t", str(self._init_of(name)), "-m", "-n", "-p", "-u", "bash", "-c"]
        script = f"cd; source .bashrc; {command}"
        return subprocess.Popen(
            [*inside, script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
        )

    def cut_off(self, name: str) -> None:
        """Power off: all its processes are killed."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def _make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        key = self.folder / "id"
        _sh(f"ssh-keygen -q -t ed25519 -N '' -f {key}")
        switch = f"{self.tag}-switch"
        _sh(f"ip netns add {switch}; ip -n {switch} link add br0 type bridge; ip -n {switch} link set br0 up")
        for name in self.names:
            space, port = f"{self.tag}-{name}", f"p-{name}"
            _sh(
                f"ip netns add {space}; ip link add eth0 netns {space} type veth peer name {port} netns {switch};"
                f"ip -n {switch} link set {port} master br0 up; ip -n {space} link set lo up;"
                f"ip -n {space} addr add {self.address[name]}/24 dev eth0; ip -n {space} link set eth0 up;"
                f"ip -n {space} route add default via 10.77.0.1"
            )
            self._boot(name, key)

    def _boot(self, name: str, key: Path) -> None:
        home = self.home(name)
        (home / ".ssh").mkdir(parents=True)
        (self.folder / name / "tmp").mkdir()
        shutil.copy2(key, home / ".ssh" / "id")
        shutil.copy2(key.with_suffix(".pub"), home / ".ssh" / "authorized_keys")
        quiet = "RAY_USAGE_STATS_ENABLED=0 RAY_enable_metrics_collection=0"
        (home / ".bashrc").write_text(f"export PATH={Path(sys.executable).parent}:$PATH {quiet}\n")
        shared = {str(ROOT), sys.prefix, sys.base_prefix}
        environment = {
            "PATH": PATH,
            "NAME": name,
            "IP": self.address[name],
            "DIR": str(self.folder / name),
            "HOME_DIR": str(Path.home()),
            "HOME": str(Path.home()),
            "SHARED": " ".join(sorted(shared, key=len)),
            "SSHD": str(shutil.which("sshd", path=PATH)),
        }
        command = ["ip", "netns", "exec", f"{self.tag}-{name}", "unshare", "-m", "-p", "-f", "--mount-proc", "-u"]
        self.processes[name] = subprocess.Popen(
            [*command, "--kill-child", "bash", "-c", INIT], env=environment, stdin=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while not (home / "up").exists():
            assert self.processes[name].poll() is None and time.monotonic() < deadline, f"{name} does not come up"
            time.sleep(0.05)

    def _init_of(self, name: str) -> int:
        unshare = self.processes[name].pid  # `ip netns exec` has become it
        return int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()[0])

    def _remove(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        for name in [*self.names, "switch"]:
            subprocess.run(["ip", "netns", "del", f"{self.tag}-{name}"], capture_output=True, env={"PATH": PATH})


def _sh(command: str) -> None:
    subprocess.run(["bash", "-ec", command], check=True, capture_output=True, env={"PATH": PATH})
