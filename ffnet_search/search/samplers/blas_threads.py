"""The threads of linear algebra while a proposal is made."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def _threads() -> Any:
    """The controller of BLAS threads; None if threadpoolctl is not installed."""
    try:
        from threadpoolctl import ThreadpoolController  # comes with scikit-learn
    except ImportError:
        return None
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Limit linear algebra to one thread: the matrices are small, and idle threads that spin cost ten times the CPU
    time."""
    threads = _threads()
    return nullcontext() if threads is None else threads.limit(limits=1, user_api="blas")
