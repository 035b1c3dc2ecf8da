"""Commands on a real pseudo-terminal of so many columns."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios

CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def shown(columns: int, *command: str, **environment: str) -> str:
    """What a command prints on a terminal of so many columns, codes of colours included."""
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        left = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
        os.execve(command[0], list(command), {**left, "TERM": "xterm", **environment})
    said = b""
    try:
        while piece := os.read(terminal, 4096):
            said += piece
    except OSError:  # closed: so Linux says that the command has ended
        pass
    os.waitpid(child, 0)
    return said.decode().replace("\r\n", "\n")
