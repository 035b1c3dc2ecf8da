"""The time that a test waits for a process: a hang ends it, a busy machine does not.

What takes 20 s alone takes some 250 s on two cores of which programs of higher priority leave a tenth."""

from __future__ import annotations

PATIENCE_S = 900  # for one process
BUSY_S = 3 * PATIENCE_S  # for a test that waits for several, in `pytest.mark.timeout`
REGISTER_S = "600"  # in which a worker of Ray must have imported what it needs; else Ray ends it, 60 s by default
REGISTER = "RAY_worker_register_timeout_seconds"
