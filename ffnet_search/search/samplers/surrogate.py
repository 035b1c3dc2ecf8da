"""A Gaussian process over configurations, which predicts a metric from few evaluations.

Its kernel is a sum of few parts, whose weights are all that is fitted: effects of choices, each axis by itself; the
same shared by axes with the same choices, and rising or falling along them; counts of choices; and similarity of whole
configurations, in which two choices are the more similar the closer their effects are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TypeVar

import numpy as np
from scipy.linalg import cho_solve, cholesky, lapack, solve_triangular
from scipy.optimize import minimize

from ffnet_search.search.samplers.encoding import SINGLE, Array, Encoding, Single

JITTER = 1e-6
BLOCK = 64
ROUNDS = 15  # of the fit of the weights
LEAST, MOST = math.log(1e-5), math.log(30.0)
EFFECTS_PRIOR = (0.5, 0.3, 0.1)  # weights of main effects, shared effects and slopes
PRIOR = 0.3  # of the parts of the whole kernel
NOISE_PRIOR = (0.1, 0.05)
Floats = TypeVar("Floats", Array, Single)


@dataclass(frozen=True)
class Inputs:
    """Configurations as features of all axes (N, F), and the counts and slopes (N, C) of families.

    What the kernels of several surrogates have in common is computed once: most of the time of a proposal."""

    features_NF: Single
    counts_NC: Single
    slopes_NC: Single
    _some: dict[bytes, Inputs] = field(default_factory=dict, compare=False)
    _shared: dict[int, tuple[Inputs, Single, Single, Single]] = field(default_factory=dict, compare=False)
    _joined: dict[int, tuple[Inputs, Inputs]] = field(default_factory=dict, compare=False)
    _parts: list[tuple[list[Array], Array | None]] = field(default_factory=list, compare=False)

    @classmethod
    def of(cls, encoding: Encoding, rows_NA: Array) -> Inputs:
        """The inputs of rows."""
        features_NF = encoding.features(rows_NA)
        return cls(features_NF, features_NF @ encoding.counts_FC, features_NF @ encoding.slopes_FC)

    def parts(self, encoding: Encoding) -> tuple[list[Array], Array | None]:
        """The parts of the kernel among these (N, N) that depend on no effects, in double precision: the linear ones,
        and the likeness of counts, None where there are none."""
        if not self._parts:
            tables = [self.features_NF, *([self.counts_NC, self.slopes_NC] if encoding.kin.size else [])]
            doubles = [table.astype(np.float64) for table in tables]
            divisors = [len(encoding.axes), encoding.most_alike, encoding.most_alike]
            linear = [x @ x.T / by for x, by in zip(doubles, divisors, strict=False)]
            wide = np.exp(_squared_distances(doubles[1], doubles[1]) / -6) if encoding.kin.size else None
            self._parts.append((linear, wide))
        return self._parts[0]

    def shared(self, others: Inputs, encoding: Encoding) -> tuple[Single, Single, Single]:
        """The share of axes with the same choice, the likeness of counts and its cube (N, N'), in single precision."""
        if id(others) not in self._shared:
            same_NN = self.features_NF @ (others.features_NF.T / SINGLE(len(encoding.axes)))
            wide_NN = _squared_distances(self.counts_NC, others.counts_NC)
            wide_NN /= -6
            np.exp(wide_NN, out=wide_NN)
            # The others are kept, so that no later ones have their identity.
            self._shared[id(others)] = others, same_NN, wide_NN, wide_NN * wide_NN * wide_NN
        return self._shared[id(others)][1:]

    def at(self, which: np.ndarray | Sequence[int]) -> Inputs:
        """Some of them: the same object for the same ones."""
        key = np.asarray(which).tobytes()
        if key not in self._some:
            self._some[key] = Inputs(self.features_NF[which], self.counts_NC[which], self.slopes_NC[which])
        return self._some[key]

    def joined(self, other: Inputs) -> Inputs:
        """These, then others: the same object for the same ones."""
        if id(other) not in self._joined:
            features_NF = np.vstack([self.features_NF, other.features_NF])
            counts_NC = np.vstack([self.counts_NC, other.counts_NC])
            slopes_NC = np.vstack([self.slopes_NC, other.slopes_NC])
            # The other is kept, so that no later one has its identity.
            self._joined[id(other)] = other, Inputs(features_NF, counts_NC, slopes_NC)
        return self._joined[id(other)][1]


@dataclass(frozen=True)
class Weights:
    """Logarithms of the weights of parts of the kernel, last that of the noise: of the effects alone, and of all."""

    effects: Array
    whole: Array


class Surrogate:
    """The process given values `y_N` of `inputs`, as if `pending` ones had the values that it predicts for them
    (kriging believer). Weights are fitted if none are given."""

    effects_F: Array  # the effect of each feature
    spread: float  # of effects, the unit of their distances

    def __init__(
        self,
        encoding: Encoding,
        inputs: Inputs,
        y_N: Array,
        weights: Weights | None = None,
        pending: Inputs | None = None,
    ) -> None:
        self.encoding, self.inputs = encoding, inputs
        self.mean, self.scale = float(y_N.mean()), float(y_N.std()) or 1.0
        self.z_N = (y_N - self.mean) / self.scale
        self.weights = self._learn(weights)
        if pending is not None:
            self.inputs = inputs.joined(pending)
        kernel_TT = _sum(np.exp(self.weights.whole), self._parts())
        kernel_TT[np.diag_indices_from(kernel_TT)] += self._noise
        inverse_TT = _inverse(cholesky(kernel_TT, lower=True, check_finite=False))
        known = len(y_N)
        first_NN = inverse_TT[:known, :known]  # of those with values alone
        self._alpha_T = first_NN.T @ (first_NN @ self.z_N)
        if pending is not None:
            z_T = np.append(self.z_N, kernel_TT[known:, :known] @ self._alpha_T)
            self._alpha_T = inverse_TT.T @ (inverse_TT @ z_T)
        self._inverse_TT = inverse_TT.T.astype(SINGLE)
        self._last: tuple[Inputs, Single, Array] | None = None

    def _learn(self, weights: Weights | None) -> Weights:
        """Learn the effects of choices, with these weights or those that are fitted; return the weights."""
        linear, _ = self.inputs.parts(self.encoding)
        if weights is None:
            effects = _fitted(linear, self.z_N, np.log([*EFFECTS_PRIOR[: len(linear)], NOISE_PRIOR[0]]), 2.0)
        else:
            effects = weights.effects
        self.effects_F = self._effects(linear, effects)
        self.spread = math.sqrt(2 * (self.inputs.features_NF @ self._effects_FA).var(axis=0).sum()) + 1e-9
        if weights is not None:
            return weights
        parts = self._parts()
        return Weights(effects, _fitted(parts, self.z_N, np.log([PRIOR] * len(parts) + [NOISE_PRIOR[1]]), 1.5))

    def predict(self, inputs: Inputs) -> tuple[Array, Array]:
        """Means and standard deviations (N,), without noise."""
        cross_NT = self._cross(inputs, self.inputs)
        half_NT = cross_NT @ self._inverse_TT
        variance_N = np.maximum(self._prior(inputs) - np.einsum("ij,ij->i", half_NT, half_NT), 1e-9)
        self._last = inputs, half_NT, variance_N
        return self.mean + self.scale * (cross_NT @ self._alpha_T), self.scale * np.sqrt(variance_N)

    def rest(self, inputs: Inputs, one: int) -> Array:
        """The share of the standard deviations (N,) that is left once the value at `one` is known."""
        if self._last is None or self._last[0] is not inputs:
            self.predict(inputs)
        assert self._last is not None
        _, half_NT, variance_N = self._last
        shared_N = self._cross(inputs, inputs.at([one]))[:, 0] - half_NT @ half_NT[one]
        fall_N = shared_N**2 / (variance_N[one] + self._noise)
        return np.sqrt(np.maximum(1 - fall_N / variance_N, 0))

    @property
    def _noise(self) -> float:
        return float(np.exp(self.weights.whole[-1])) + JITTER

    @property
    def _effects_FA(self) -> Single:
        """The effect of each feature on its axis, 0 on others."""
        return np.asarray(self.encoding.sums_FA * self.effects_F[:, None], dtype=SINGLE)

    def _effects(self, linear: list[Array], log_weights: Array) -> Array:
        """The effect of each feature (F,), by the linear parts alone."""
        weights, inputs, encoding = np.exp(log_weights), self.inputs, self.encoding
        kernel_NN = _sum(weights, linear)
        kernel_NN[np.diag_indices_from(kernel_NN)] += weights[-1] + JITTER
        alpha_N = cho_solve((cholesky(kernel_NN, lower=True, check_finite=False), True), self.z_N, check_finite=False)
        effects_F = weights[0] / len(encoding.axes) * (inputs.features_NF.T @ alpha_N)
        if encoding.kin.size:
            shared_F = weights[1] * (encoding.counts_FC @ (inputs.counts_NC.T @ alpha_N))
            sloped_F = weights[2] * (encoding.slopes_FC @ (inputs.slopes_NC.T @ alpha_N))
            effects_F = effects_F + (shared_F + sloped_F) / encoding.most_alike
        return np.asarray(effects_F)

    def _parts(self) -> list[Array]:
        """The parts of the kernel among the trials (T, T), in double precision."""
        linear, wide = self.inputs.parts(self.encoding)
        effects_TA = (self.inputs.features_NF @ self._effects_FA).astype(np.float64) / self.spread
        apart = np.sqrt(_squared_distances(effects_TA, effects_TA))
        alike = (1 + apart) * np.exp(np.minimum(linear[0], 1) - 1 - apart)  # Matern 3/2 on effects, and Hamming
        return [*linear, alike] if wide is None else [*linear, alike, wide * wide * wide, alike * wide]

    def _cross(self, a: Inputs, b: Inputs) -> Single:
        """The kernel (N, N') of candidates with others, the weighted sum of `_parts`, in single precision."""
        weights = np.exp(self.weights.whole).astype(SINGLE)
        effects_FA = self._effects_FA / SINGLE(self.spread)
        same, wide, cube = a.shared(b, self.encoding)
        apart = _squared_distances(a.features_NF @ effects_FA, b.features_NF @ effects_FA)
        np.sqrt(apart, out=apart)
        alike = np.exp(same - 1 - apart)
        alike *= np.add(apart, 1, out=apart)
        kernel = same * weights[0]
        if not self.encoding.kin.size:
            return np.asarray(kernel + weights[1] * alike)
        by_counts, by_slopes = weights[1:3] / SINGLE(self.encoding.most_alike)
        shared_a = np.hstack([a.counts_NC * by_counts, a.slopes_NC * by_slopes])
        kernel += shared_a @ np.hstack([b.counts_NC, b.slopes_NC]).T
        kernel += weights[4] * cube
        alike *= weights[3] + weights[5] * wide
        kernel += alike
        return np.asarray(kernel)

    def _prior(self, inputs: Inputs) -> Array:
        """The variances (N,) before any evaluation."""
        weights = np.exp(self.weights.whole[:-1])
        if not self.encoding.kin.size:
            return np.full(len(inputs.features_NF), weights.sum())
        lengths = [np.einsum("ij,ij->i", x, x) / self.encoding.most_alike for x in (inputs.counts_NC, inputs.slopes_NC)]
        return np.asarray(weights[0] + weights[1] * lengths[0] + weights[2] * lengths[1] + weights[3:].sum())


def _sum(weights: Array, parts: Sequence[Array]) -> Array:
    return reduce(np.add, (weight * part for weight, part in zip(weights, parts, strict=False)))


def _squared_distances(a: Floats, b: Floats) -> Floats:
    """(N, N'), by one product of matrices."""
    ones_N1, ones_M1 = np.ones_like(a[:, :1]), np.ones_like(b[:, :1])
    squares_N1, squares_M1 = (a * a).sum(axis=1, keepdims=True), (b * b).sum(axis=1, keepdims=True)
    apart_NM = np.hstack([-2 * a, squares_N1, ones_N1]) @ np.hstack([b, ones_M1, squares_M1]).T
    return np.maximum(apart_NM, 0, out=apart_NM)


def _inverse(lower_TT: Array) -> Array:
    """The inverse of a lower triangle, by halves: products of matrices take a third of the time of LAPACK's routine."""
    if len(lower_TT) <= BLOCK:
        return np.asarray(solve_triangular(lower_TT, np.eye(len(lower_TT)), lower=True, check_finite=False))
    half, inverse_TT = len(lower_TT) // 2, np.zeros_like(lower_TT)
    inverse_TT[:half, :half], inverse_TT[half:, half:] = map(_inverse, (lower_TT[:half, :half], lower_TT[half:, half:]))
    inverse_TT[half:, :half] = -inverse_TT[half:, half:] @ (lower_TT[half:, :half] @ inverse_TT[:half, :half])
    return inverse_TT


def _fitted(parts: Sequence[Array], z_N: Array, prior: Array, width: float) -> Array:
    """The logarithms of weights with the largest posterior density; their prior is normal with this width."""
    given = (np.stack(parts).reshape(len(parts), -1), z_N, prior, width)
    bounds = [(LEAST, MOST)] * len(prior)
    found = minimize(_loss, prior, given, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": ROUNDS})
    return np.asarray(found.x)


def _loss(logs: Array, parts_PX: Array, z_N: Array, prior: Array, width: float) -> tuple[float, Array]:
    """The negative log posterior of logarithms of weights, and its gradient (Rasmussen and Williams, 2006, 5.9).

    `parts_PX`: a kernel (N, N) a row."""
    weights, off = np.exp(logs), (logs - prior) / width
    kernel_NN = (weights[:-1] @ parts_PX).reshape(len(z_N), len(z_N))
    kernel_NN[np.diag_indices_from(kernel_NN)] += weights[-1] + JITTER
    lower_NN, info = lapack.dpotrf(kernel_NN, lower=1, clean=1)
    if info:
        return 1e10, np.zeros_like(logs)
    inverse_NN, _ = lapack.dpotri(lower_NN, lower=1)
    inverse_NN += np.tril(inverse_NN, -1).T
    alpha_N = inverse_NN @ z_N
    loss = 0.5 * z_N @ alpha_N + np.log(np.diag(lower_NN)).sum() + 0.5 * (off**2).sum()
    slope_NN = 0.5 * (inverse_NN - np.outer(alpha_N, alpha_N))
    slopes = np.append(parts_PX @ slope_NN.ravel(), np.trace(slope_NN))
    return float(loss), weights * slopes + off / width
