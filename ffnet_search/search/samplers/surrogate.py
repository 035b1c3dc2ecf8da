"""A Gaussian process over configurations: a metric before its evaluation, from few evaluations of others.

Its kernel is a sum of few parts, whose weights are all that is fitted: effects of choices, each axis by itself; the
same shared by axes with the same choices, and rising or falling along them; counts of choices; and likeness of whole
configurations, where two choices are the more alike the nearer their effects are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from scipy.linalg import cho_solve, cholesky, lapack, solve_triangular
from scipy.optimize import minimize

from ffnet_search.search.samplers.encoding import Array, Encoding

JITTER = 1e-6
ROUNDS = 15  # of the fit of the weights
LEAST, MOST = math.log(1e-5), math.log(30.0)
EFFECTS_PRIOR = (0.5, 0.3, 0.1)  # weights of main effects, shared effects and slopes
PRIOR = 0.3  # of the parts of the whole kernel
NOISE_PRIOR = (0.1, 0.05)


@dataclass(frozen=True)
class Inputs:
    """Configurations as features of all axes (N, F), counts (N, C) and slopes (N, C) by family."""

    features_NF: Array
    counts_NC: Array
    slopes_NC: Array
    _some: dict[bytes, Inputs] = field(default_factory=dict, compare=False)
    _products: dict[int, tuple[Inputs | None, list[Array], Array]] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, encoding: Encoding, rows_NA: Array) -> Inputs:
        """The inputs of rows."""
        features_NF = encoding.features(rows_NA)
        return cls(features_NF, features_NF @ encoding.counts_FC, features_NF @ encoding.slopes_FC)

    def products(self, other: Inputs, encoding: Encoding) -> tuple[list[Array], Array]:
        """The parts of a kernel that no weights change: the linear ones, and the likeness of counts (N, N'). Computed
        once for all the surrogates of the same trials, which takes most of the time of a proposal."""
        if id(other) not in self._products:
            linear, wide = [self.features_NF @ other.features_NF.T / len(encoding.axes)], np.empty(0)
            if encoding.kin.size:
                linear.append(self.counts_NC @ other.counts_NC.T / encoding.most_alike)
                linear.append(self.slopes_NC @ other.slopes_NC.T / encoding.most_alike)
                products = linear[1] * encoding.most_alike
                squares = (self.counts_NC**2).sum(axis=1)[:, None] + (other.counts_NC**2).sum(axis=1)
                wide = np.exp(np.maximum(squares - 2 * products, 0) / -6)
            # The other is kept, so that no later one has its identity.
            self._products[id(other)] = None if other is self else other, linear, wide
        return self._products[id(other)][1:]

    def at(self, which: np.ndarray | Sequence[int]) -> Inputs:
        """Some of them: the same object for the same ones."""
        key = np.asarray(which).tobytes()
        if key not in self._some:
            self._some[key] = Inputs(self.features_NF[which], self.counts_NC[which], self.slopes_NC[which])
        return self._some[key]

    def joined(self, other: Inputs) -> Inputs:
        """These, then others."""
        return Inputs(
            np.vstack([self.features_NF, other.features_NF]),
            np.vstack([self.counts_NC, other.counts_NC]),
            np.vstack([self.slopes_NC, other.slopes_NC]),
        )


@dataclass(frozen=True)
class Weights:
    """Logarithms of the weights of parts of the kernel, last that of the noise: of the effects alone, and of all."""

    effects: Array
    whole: Array


class Surrogate:
    """The process given values `y_N` of `inputs`. Weights are fitted where none are given; with `like` scale, effects
    and weights are another's."""

    effects_F: Array  # the effect of each feature
    spread: float  # of effects, the unit of their distances

    def __init__(
        self,
        encoding: Encoding,
        inputs: Inputs,
        y_N: Array,
        weights: Weights | None = None,
        like: Surrogate | None = None,
    ) -> None:
        self.encoding, self.inputs = encoding, inputs
        if like is None:
            self.mean, self.scale = float(y_N.mean()), float(y_N.std()) or 1.0
            self.z_N = (y_N - self.mean) / self.scale
            self.weights = self._learn(weights)
        else:
            self.mean, self.scale, self.weights = like.mean, like.scale, like.weights
            self.effects_F, self.spread = like.effects_F, like.spread
            self.z_N = (y_N - self.mean) / self.scale
        kernel_TT = self._kernel(inputs, inputs)
        kernel_TT[np.diag_indices_from(kernel_TT)] += self._noise
        self._lower_TT = cholesky(kernel_TT, lower=True, check_finite=False)
        self._alpha_T = cho_solve((self._lower_TT, True), self.z_N, check_finite=False)

    def _learn(self, weights: Weights | None) -> Weights:
        """Learn the effects of choices, with these weights or those that are fitted; return the weights."""
        linear, _ = self.inputs.products(self.inputs, self.encoding)
        if weights is None:
            effects = _fitted(linear, self.z_N, np.log([*EFFECTS_PRIOR[: len(linear)], NOISE_PRIOR[0]]), 2.0)
        else:
            effects = weights.effects
        self.effects_F = self._effects(self.inputs, self.z_N, linear, effects)
        self.spread = math.sqrt(2 * self._embedded(self.inputs).var(axis=0).sum()) + 1e-9
        if weights is not None:
            return weights
        parts = self._parts(self.inputs, self.inputs)
        return Weights(effects, _fitted(parts, self.z_N, np.log([PRIOR] * len(parts) + [NOISE_PRIOR[1]]), 1.5))

    def believing(self, inputs: Inputs) -> Surrogate:
        """The process as if these had the values that are expected of them, which is where pending trials stand."""
        mean_N, _ = self.predict(inputs)
        y_N = np.append(self.mean + self.scale * self.z_N, mean_N)
        return Surrogate(self.encoding, self.inputs.joined(inputs), y_N, like=self)

    def predict(self, inputs: Inputs) -> tuple[Array, Array]:
        """Means and standard deviations (N,), without noise."""
        cross_NT = self._kernel(inputs, self.inputs)
        half_TN = solve_triangular(self._lower_TT, cross_NT.T, lower=True, check_finite=False)
        variance_N = np.maximum(self._prior(inputs) - (half_TN**2).sum(axis=0), 1e-9)
        return self.mean + self.scale * (cross_NT @ self._alpha_T), self.scale * np.sqrt(variance_N)

    def rest(self, inputs: Inputs, one: int) -> Array:
        """The share of the standard deviations (N,) that is left once the value at `one` is known."""
        half_TN = solve_triangular(self._lower_TT, self._kernel(inputs, self.inputs).T, lower=True, check_finite=False)
        shared_N = self._kernel(inputs, inputs.at([one]))[:, 0] - half_TN.T @ half_TN[:, one]
        variance_N = np.maximum(self._prior(inputs) - (half_TN**2).sum(axis=0), 1e-9)
        fall_N = shared_N**2 / (variance_N[one] + self._noise)
        return np.sqrt(np.maximum(1 - fall_N / variance_N, 0))

    @property
    def _noise(self) -> float:
        return float(np.exp(self.weights.whole[-1])) + JITTER

    def _kernel(self, a: Inputs, b: Inputs) -> Array:
        return _sum(np.exp(self.weights.whole), self._parts(a, b))

    def _prior(self, inputs: Inputs) -> Array:
        """The variances (N,) before any evaluation."""
        weights, axes = np.exp(self.weights.whole[:-1]), len(self.encoding.axes)
        lengths = [(inputs.features_NF**2).sum(axis=1) / axes]
        if self.encoding.kin.size:
            lengths += [(x**2).sum(axis=1) / self.encoding.most_alike for x in (inputs.counts_NC, inputs.slopes_NC)]
        return np.asarray(_sum(weights, lengths) + weights[len(lengths) :].sum())

    def _effects(self, inputs: Inputs, z_N: Array, linear: list[Array], log_weights: Array) -> Array:
        """The effect of each feature (F,), by the linear parts alone."""
        weights = np.exp(log_weights)
        kernel_NN = _sum(weights, linear)
        kernel_NN[np.diag_indices_from(kernel_NN)] += weights[-1] + JITTER
        alpha_N = cho_solve((cholesky(kernel_NN, lower=True, check_finite=False), True), z_N, check_finite=False)
        effects_F = weights[0] / len(self.encoding.axes) * (inputs.features_NF.T @ alpha_N)
        if self.encoding.kin.size:
            shared_F = weights[1] * (self.encoding.counts_FC @ (inputs.counts_NC.T @ alpha_N))
            sloped_F = weights[2] * (self.encoding.slopes_FC @ (inputs.slopes_NC.T @ alpha_N))
            effects_F = effects_F + (shared_F + sloped_F) / self.encoding.most_alike
        return np.asarray(effects_F)

    def _embedded(self, inputs: Inputs) -> Array:
        """The effect on each axis (N, A)."""
        return np.add.reduceat(inputs.features_NF * self.effects_F, self.encoding.starts[:-1], axis=1)

    def _parts(self, a: Inputs, b: Inputs) -> list[Array]:
        linear, wide = a.products(b, self.encoding)
        effects_a, effects_b = (self._embedded(inputs) / self.spread for inputs in (a, b))
        apart = np.sqrt(_squared_distances(effects_a, effects_b))
        alike = (1 + apart) * np.exp(np.minimum(linear[0], 1) - 1 - apart)  # Matern 3/2 on effects, and Hamming
        parts = [*linear, alike]
        if self.encoding.kin.size:
            parts += [wide * wide * wide, alike * wide]
        return parts


def _sum(weights: Array, parts: Sequence[Array]) -> Array:
    return reduce(np.add, (weight * part for weight, part in zip(weights, parts, strict=False)))


def _squared_distances(a: Array, b: Array) -> Array:
    return np.maximum((a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T, 0)


def _fitted(parts: Sequence[Array], z_N: Array, prior: Array, width: float) -> Array:
    """The logarithms of weights with the largest posterior density; their prior is normal with this width."""
    given = (parts, z_N, prior, width)
    bounds = [(LEAST, MOST)] * len(prior)
    found = minimize(_loss, prior, given, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": ROUNDS})
    return np.asarray(found.x)


def _loss(logs: Array, parts: Sequence[Array], z_N: Array, prior: Array, width: float) -> tuple[float, Array]:
    """The negative log posterior of logarithms of weights, and its gradient (Rasmussen and Williams, 2006, 5.9)."""
    weights, off = np.exp(logs), (logs - prior) / width
    kernel_NN = _sum(weights, parts)
    kernel_NN[np.diag_indices_from(kernel_NN)] += weights[-1] + JITTER
    lower_NN, info = lapack.dpotrf(kernel_NN, lower=1, clean=1)
    if info:
        return 1e10, np.zeros_like(logs)
    inverse_NN, _ = lapack.dpotri(lower_NN, lower=1)
    inverse_NN += np.tril(inverse_NN, -1).T
    alpha_N = inverse_NN @ z_N
    loss = 0.5 * z_N @ alpha_N + np.log(np.diag(lower_NN)).sum() + 0.5 * (off**2).sum()
    slope_NN = 0.5 * (inverse_NN - np.outer(alpha_N, alpha_N))
    slopes = [np.einsum("ij,ij", slope_NN, part) for part in parts] + [np.trace(slope_NN)]
    return float(loss), weights * slopes + off / width
