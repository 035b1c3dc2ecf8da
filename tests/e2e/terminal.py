"""A command in a terminal of its own, in which Ctrl-C is pressed: python terminal.py STOP COMMAND...

Ctrl-C is pressed once, when there is a file named STOP. What the terminal shows is printed; the exit code is the
command's.
"""

from __future__ import annotations

import os
import pty
import select
import sys
from pathlib import Path

CTRL_C = b"\x03"


def main(stop: Path, command: list[str]) -> int:
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)
    pressed = False
    while True:
        if not pressed and stop.exists():
            os.write(terminal, CTRL_C)
            pressed = True
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            shown = os.read(terminal, 65536)
        except OSError:  # closed: so Linux says that the command has ended
            break
        if not shown:
            break
        os.write(sys.stdout.fileno(), shown)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
