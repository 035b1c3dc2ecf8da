"""A Gaussian process over configurations, which predicts a metric from few evaluations.

Its kernel is a weighted sum of a few terms; only the weights are fitted. Linear terms: main effects of choices, effects
that axes of a family share, and effects that rise or fall along a family. Others: a radial basis function of the counts
of choices, cubed; a Matern 3/2 kernel on the effects of choices, in which choices are similar if their effects are; and
the product of both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.linalg import cho_solve, cholesky, lapack, solve_triangular
from scipy.optimize import minimize

from ffnet_search.search.samplers.axis import Array
from ffnet_search.search.samplers.encoding import SINGLE, Encoding, Single
from ffnet_search.search.samplers.inputs import Inputs, squared_distances

JITTER = 1e-6  # on the diagonal of a kernel
BLOCK = 64  # rows of a triangle, up to which it is inverted as a whole
ITERATIONS = 15  # of L-BFGS, for the weights
LOG_MIN, LOG_MAX = math.log(1e-5), math.log(30.0)  # of a weight
EFFECTS_PRIOR = (0.5, 0.3, 0.1)  # the prior weights of main effects, shared effects and slopes
PRIOR = 0.3  # the prior weight of each term of the whole kernel
NOISE_PRIOR = (0.1, 0.05)  # the prior weight of the noise: of linear terms alone, and of the whole kernel


@dataclass(frozen=True)
class Weights:
    """Logarithms of the weights of the linear terms alone, and of all terms of the kernel; the last is that of the
    noise."""

    effects: Array
    whole: Array


class Surrogate:
    """The Gaussian process given values `y_N` of `inputs`, and of `pending` inputs as if their values were those that
    it predicts (kriging believer; Ginsbourger, Le Riche and Carraro, 2010). Weights are fitted if none are given."""

    effects_F: Array  # the effect of each feature
    spread: float  # the standard deviation of effects, the unit of their distances

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
        self.weights = self._fit(weights)
        if pending is not None:
            self.inputs = inputs.joined(pending)
        kernel_TT = _sum(np.exp(self.weights.whole), self._terms())
        kernel_TT[np.diag_indices_from(kernel_TT)] += self._noise
        inverse_TT = _inverse(cholesky(kernel_TT, lower=True, check_finite=False))
        known = len(y_N)
        first_NN = inverse_TT[:known, :known]  # of the inputs with values
        self._alpha_T = first_NN.T @ (first_NN @ self.z_N)
        if pending is not None:
            z_T = np.append(self.z_N, kernel_TT[known:, :known] @ self._alpha_T)
            self._alpha_T = inverse_TT.T @ (inverse_TT @ z_T)
        self._inverse_TT = inverse_TT.T.astype(SINGLE)
        self._last: tuple[Inputs, Single, Array] | None = None

    def _fit(self, weights: Weights | None) -> Weights:
        """Compute the effects of choices, by these weights or by fitted ones; return the weights."""
        linear, _ = self.inputs.terms(self.encoding)
        if weights is None:
            effects = _fit_weights(linear, self.z_N, np.log([*EFFECTS_PRIOR[: len(linear)], NOISE_PRIOR[0]]), 2.0)
        else:
            effects = weights.effects
        self.effects_F = self._effects(linear, effects)
        self.spread = math.sqrt(2 * (self.inputs.features_NF @ self._effects_FA).var(axis=0).sum()) + 1e-9
        if weights is not None:
            return weights
        terms = self._terms()
        return Weights(effects, _fit_weights(terms, self.z_N, np.log([PRIOR] * len(terms) + [NOISE_PRIOR[1]]), 1.5))

    def predict(self, inputs: Inputs) -> tuple[Array, Array]:
        """Predicted means and standard deviations (N,), without noise."""
        cross_NT = self._cross_kernel(inputs, self.inputs)
        half_NT = cross_NT @ self._inverse_TT
        variance_N = np.maximum(self._prior_variance(inputs) - np.einsum("ij,ij->i", half_NT, half_NT), 1e-9)
        self._last = inputs, half_NT, variance_N
        return self.mean + self.scale * (cross_NT @ self._alpha_T), self.scale * np.sqrt(variance_N)

    def remaining_sd(self, inputs: Inputs, one: int) -> Array:
        """The share (N,) of the standard deviations that remains once the value of input `one` is known."""
        if self._last is None or self._last[0] is not inputs:
            self.predict(inputs)
        assert self._last is not None
        _, half_NT, variance_N = self._last
        shared_N = self._cross_kernel(inputs, inputs.take([one]))[:, 0] - half_NT @ half_NT[one]
        fall_N = shared_N**2 / (variance_N[one] + self._noise)
        return np.sqrt(np.maximum(1 - fall_N / variance_N, 0))

    @property
    def _noise(self) -> float:
        return float(np.exp(self.weights.whole[-1])) + JITTER

    @property
    def _effects_FA(self) -> Single:
        """The effects of features (F, A), each on its own axis."""
        return np.asarray(self.encoding.sums_FA * self.effects_F[:, None], dtype=SINGLE)

    def _effects(self, linear: list[Array], log_weights: Array) -> Array:
        """The effect of each feature (F,), by the linear terms alone."""
        weights, inputs, encoding = np.exp(log_weights), self.inputs, self.encoding
        kernel_NN = _sum(weights, linear)
        kernel_NN[np.diag_indices_from(kernel_NN)] += weights[-1] + JITTER
        alpha_N = cho_solve((cholesky(kernel_NN, lower=True, check_finite=False), True), self.z_N, check_finite=False)
        effects_F = weights[0] / len(encoding.axes) * (inputs.features_NF.T @ alpha_N)
        if encoding.pairs_P2.size:
            shared_F = weights[1] * (encoding.counts_FC @ (inputs.counts_NC.T @ alpha_N))
            sloped_F = weights[2] * (encoding.slopes_FC @ (inputs.slopes_NC.T @ alpha_N))
            effects_F = effects_F + (shared_F + sloped_F) / encoding.largest_family
        return np.asarray(effects_F)

    def _terms(self) -> list[Array]:
        """The terms of the kernel among the inputs (T, T), in double precision."""
        linear, counts_rbf = self.inputs.terms(self.encoding)
        effects_TA = (self.inputs.features_NF @ self._effects_FA).astype(np.float64) / self.spread
        distance = np.sqrt(squared_distances(effects_TA, effects_TA))
        similarity = (1 + distance) * np.exp(
            np.minimum(linear[0], 1) - 1 - distance
        )  # Matern 3/2 on effects, and Hamming
        return (
            [*linear, similarity]
            if counts_rbf is None
            else [*linear, similarity, counts_rbf * counts_rbf * counts_rbf, similarity * counts_rbf]
        )

    def _cross_kernel(self, a: Inputs, b: Inputs) -> Single:
        """The kernel (N, N') between inputs, the weighted sum of the same terms, in single precision."""
        weights = np.exp(self.weights.whole).astype(SINGLE)
        effects_FA = self._effects_FA / SINGLE(self.spread)
        overlap, counts_rbf, cubed = a.cross_terms(b, self.encoding)
        distance = squared_distances(a.features_NF @ effects_FA, b.features_NF @ effects_FA)
        np.sqrt(distance, out=distance)
        similarity = np.exp(overlap - 1 - distance)
        similarity *= np.add(distance, 1, out=distance)
        kernel = overlap * weights[0]
        if not self.encoding.pairs_P2.size:
            return np.asarray(kernel + weights[1] * similarity)
        by_counts, by_slopes = weights[1:3] / SINGLE(self.encoding.largest_family)
        weighted_a = np.hstack([a.counts_NC * by_counts, a.slopes_NC * by_slopes])
        kernel += weighted_a @ np.hstack([b.counts_NC, b.slopes_NC]).T
        kernel += weights[4] * cubed
        similarity *= weights[3] + weights[5] * counts_rbf
        kernel += similarity
        return np.asarray(kernel)

    def _prior_variance(self, inputs: Inputs) -> Array:
        """The prior variances (N,)."""
        weights = np.exp(self.weights.whole[:-1])
        if not self.encoding.pairs_P2.size:
            return np.full(len(inputs.features_NF), weights.sum())
        lengths = [
            np.einsum("ij,ij->i", x, x) / self.encoding.largest_family for x in (inputs.counts_NC, inputs.slopes_NC)
        ]
        return np.asarray(weights[0] + weights[1] * lengths[0] + weights[2] * lengths[1] + weights[3:].sum())


def _sum(weights: Array, terms: Sequence[Array]) -> Array:
    """The weighted sum of terms; a weight too many is that of the noise."""
    return reduce(np.add, (weight * term for weight, term in zip(weights, terms, strict=False)))


def _inverse(lower_TT: Array) -> Array:
    """The inverse of a lower triangular matrix (T, T), by halves: this takes a third of the time of LAPACK's
    routine."""
    if len(lower_TT) <= BLOCK:
        return np.asarray(solve_triangular(lower_TT, np.eye(len(lower_TT)), lower=True, check_finite=False))
    half, inverse_TT = len(lower_TT) // 2, np.zeros_like(lower_TT)
    inverse_TT[:half, :half], inverse_TT[half:, half:] = map(_inverse, (lower_TT[:half, :half], lower_TT[half:, half:]))
    inverse_TT[half:, :half] = -inverse_TT[half:, half:] @ (lower_TT[half:, :half] @ inverse_TT[:half, :half])
    return inverse_TT


def _fit_weights(terms: Sequence[Array], z_N: Array, prior: Array, width: float) -> Array:
    """The logarithms of weights with the largest posterior density.

    Their prior is normal around `prior`, with `width` as its standard deviation."""
    given = (np.stack(terms).reshape(len(terms), -1), z_N, prior, width)
    bounds = [(LOG_MIN, LOG_MAX)] * len(prior)
    fit = minimize(
        _negative_log_posterior,
        prior,
        given,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": ITERATIONS},
    )
    return np.asarray(fit.x)


def _negative_log_posterior(
    logs: Array, terms_PX: Array, z_N: Array, prior: Array, width: float
) -> tuple[float, Array]:
    """The negative log posterior of logarithms of weights, and its gradient (Rasmussen and Williams, 2006, eq. 5.9).

    `terms_PX`: the terms of the kernel, each (N, N) as a row."""
    weights, off = np.exp(logs), (logs - prior) / width
    kernel_NN = (weights[:-1] @ terms_PX).reshape(len(z_N), len(z_N))
    kernel_NN[np.diag_indices_from(kernel_NN)] += weights[-1] + JITTER
    lower_NN, info = lapack.dpotrf(kernel_NN, lower=1, clean=1)
    if info:
        return 1e10, np.zeros_like(logs)
    inverse_NN, _ = lapack.dpotri(lower_NN, lower=1)
    inverse_NN += np.tril(inverse_NN, -1).T
    alpha_N = inverse_NN @ z_N
    loss = 0.5 * z_N @ alpha_N + np.log(np.diag(lower_NN)).sum() + 0.5 * (off**2).sum()
    slope_NN = 0.5 * (inverse_NN - np.outer(alpha_N, alpha_N))
    slopes = np.append(terms_PX @ slope_NN.ravel(), np.trace(slope_NN))
    return float(loss), weights * slopes + off / width
