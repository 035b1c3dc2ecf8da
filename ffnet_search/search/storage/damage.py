"""Errors of a study's database as user errors: a full disk, a locked or a broken file, unknown rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from optuna.exceptions import OptunaError

from ffnet_search.errors import NAME, SweepError, shortened

# What reading odd rows causes, here and in Optuna.
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
RESTORE = "restore it, or move it away to start again"


class DamagedStudy(OptunaError):
    """A row that no version of this program or of Optuna has written."""


@contextmanager
def database_errors(path: Path | str) -> Iterator[None]:
    """Raise SweepError for a full disk, a locked or a broken file."""
    try:
        yield
    except DAMAGE as error:  # of rows that Optuna reads
        raise SweepError(f"{path}: the study is damaged ({brief(error)}); {RESTORE}") from error
    except DamagedStudy as error:
        raise SweepError(f"{path}: the study is damaged ({error}); {RESTORE}") from error
    except (sa.exc.SQLAlchemyError, OptunaError) as error:
        cause = error.__cause__ or error
        detail = str(getattr(cause, "orig", cause)).split("\n")[0]
        raise SweepError(
            f"{path}: the study cannot be read or written ({detail}); check the disk and other programs that have it "
            "open, and give the same command again"
        ) from error


def brief(error: BaseException) -> str:
    """The class and the words of an error."""
    return f"{type(error).__name__} {shortened(str(error), NAME)}"
