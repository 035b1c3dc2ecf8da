"""The conditions between axes: which are present only with certain choices of another one."""

from __future__ import annotations

import numpy as np

from ffnet_search.search.samplers.axis import MAX_CHOICES, Array


class Conditions:
    """The conditions between axes, learnt from the rows of trials (N, A): which axes are present only with certain
    choices of another axis."""

    def __init__(self, rows_NA: Array) -> None:
        lacking_NA = np.isnan(rows_NA)
        lacking_A = lacking_NA.sum(axis=0)
        self.rules: list[tuple[int, int, Array]] = []  # axis, another, the numbers of this at which the axis is absent
        partial = np.flatnonzero((lacking_A > 0) & (lacking_A < len(rows_NA)))
        if not len(partial):
            return
        numbers_NA = np.where(lacking_NA, -1.0, rows_NA)
        values = [np.unique(numbers_N) for numbers_N in numbers_NA.T]
        order = [index for index in np.argsort(lacking_A, kind="stable").tolist() if len(values[index]) <= MAX_CHOICES]
        if not order:  # all are ranges
            return
        has_NV = np.hstack([numbers_NA[:, [index]] == values[index] for index in order]).astype(np.float64)
        absent_SV = lacking_NA[:, partial].T.astype(np.float64) @ has_NV  # counts
        is_absent_SV, is_present_SV = absent_SV > 0, has_NV.sum(axis=0) - absent_SV > 0
        both_SV, starts = is_absent_SV & is_present_SV, np.cumsum([0, *(len(values[index]) for index in order)])
        is_clear_SO = np.add.reduceat(both_SV, starts[:-1], axis=1, dtype=np.int64) == 0
        for row in np.argsort(lacking_A[partial], kind="stable").tolist():
            for column in np.flatnonzero(is_clear_SO[row]).tolist():
                if order[column] != partial[row]:
                    absent_V = is_absent_SV[row, starts[column] : starts[column + 1]]
                    self.rules.append((int(partial[row]), order[column], values[order[column]][absent_V]))
                    break

    def keep(self, rows_NA: Array) -> Array:
        """The rows (N, A) with NaN on axes without effect."""
        rows_NA = rows_NA.copy()
        if not self.rules:
            return rows_NA
        numbers_NA = np.nan_to_num(rows_NA, nan=-1.0)
        for _ in self.rules:  # a condition may depend on an axis that has one itself
            before = np.count_nonzero(numbers_NA < 0)
            for axis, other, absent_V in self.rules:
                numbers_NA[(numbers_NA[:, [other]] == absent_V).any(axis=1), axis] = -1
            if np.count_nonzero(numbers_NA < 0) == before:
                break
        rows_NA[numbers_NA < 0] = np.nan
        return rows_NA
