"""Scores per image: standard errors, paired tests and groups of networks that are not told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ffnet_search.evaluation.judge import Judged
from ffnet_search.metrics import find_metric
from ffnet_search.space.registry import qualities
from ffnet_search.tasks.base import find_task
from ffnet_search.tasks.scores import Scores, binomial_error, few_words, least_difference, letters, mcnemar, split_words

CLASSIFICATION = find_task("classification")


def share(right: int, images: int = 200, first: int = 0) -> Scores:
    """The scores of a network that is right on so many images, from the image `first` on."""
    scores_N1 = np.zeros((images, 1))
    scores_N1[(first + np.arange(right)) % images] = 1
    return Scores(CLASSIFICATION, scores_N1)


def test_the_error_of_a_share_is_binomial_and_never_zero() -> None:
    assert share(120).error == pytest.approx(math.sqrt(0.6 * 0.4 / 200), rel=0.02)
    assert share(200).error == binomial_error(1.0, 200) > 0.005


def test_mcnemar_is_exact() -> None:
    """By scipy.stats.binomtest on the images that one network alone is right on."""
    from scipy.stats import binomtest

    for gained, lost in ((0, 0), (1, 0), (5, 1), (10, 25), (6, 6), (700, 600)):
        expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert mcnemar(gained, lost) == pytest.approx(expected)


def test_images_that_both_get_right_say_nothing() -> None:
    """The same two shares differ or not by the images that they share."""
    nested, apart = (share(150), share(138)), (share(150), share(138, first=62))
    assert nested[0].p_value(nested[1]) < 0.001 and apart[0].p_value(apart[1]) > 0.05
    with pytest.raises(ValueError, match="must be of the same images, but are 200 and 100"):
        share(150).p_value(share(80, images=100))


@pytest.mark.parametrize(
    ("task", "scores"),
    [
        ("super_resolution", ([30.0], [31.5])),
        ("segmentation", ([5.0, 3.0, 8.0, 4.0, 9.0, 4.0], [6.0, 3.0, 8.0, 4.0, 9.0, 4.0])),
        ("multilabel", ([0.1, 0.9, 1.0, 0.0], [0.9, 0.1, 1.0, 0.0])),
    ],
)
def test_one_image_tells_no_networks_apart(task: str, scores: tuple[list[float], list[float]]) -> None:
    one, other = (Scores(find_task(task), np.array([values])) for values in scores)
    assert one.error == one.error_of_difference(other) == math.inf
    assert one.p_value(other) == 1.0 and letters([one, other]) == ["a", "a"]
    metrics = Judged(one.quality, one).metrics()
    assert find_task(task).quality_error not in metrics and all(map(math.isfinite, metrics.values()))


def test_few_validation_images_are_said_to_tell_nothing() -> None:
    assert few_words(1).startswith("1 validation image tells hardly any networks apart")
    assert few_words(9).startswith("9 validation images tell hardly") and few_words(10) == ""


def test_a_perfect_ranking_of_few_images_has_an_error() -> None:
    perfect = Scores(find_task("multilabel"), np.array([[0.9, 0.1, 1.0, 0.0], [0.2, 0.8, 0.0, 1.0]] * 3))
    assert perfect.quality == 1 and 0.05 < perfect.error < 0.2


def test_a_share_letter_is_a_difference_that_no_test_sees() -> None:
    """The middle network differs from neither end, and the ends from each other."""
    networks = [share(160), share(150, first=20), share(140, first=40)]
    assert letters(networks) == ["a", "ab", "b"]
    assert letters([share(150)] * 3) == ["a", "a", "a"]
    assert letters([share(180), share(120), share(60)]) == ["a", "b", "c"]
    assert letters([]) == []


def test_many_pairs_need_more_than_five_per_cent_each() -> None:
    """Eight networks that differ by chance alone: of 28 pairs one would look different."""
    rng, told_apart = np.random.default_rng(0), 0
    for _ in range(20):
        networks = [Scores(CLASSIFICATION, (rng.random((200, 1)) < 0.7).astype(float)) for _ in range(8)]
        told_apart += set(letters(networks)) != {"a"}
    assert told_apart <= 3


def test_a_bootstrap_of_a_mean_is_its_standard_error() -> None:
    class Same(type(CLASSIFICATION)):  # type: ignore[misc]
        def quality_from(self, scores_NS: np.ndarray) -> float:
            return float(scores_NS.mean())

    values_N1 = np.random.default_rng(1).random((300, 1))
    mean, bootstrap = Scores(CLASSIFICATION, values_N1), Scores(Same(), values_N1)
    assert not bootstrap.is_mean and bootstrap.error == pytest.approx(mean.error, rel=0.2)
    worse, other = Scores(CLASSIFICATION, values_N1 - 0.01), Scores(Same(), 0.99 * values_N1)
    assert mean.p_value(worse) < 1e-6 and bootstrap.p_value(other) < 1e-6
    assert mean.p_value(mean) == bootstrap.p_value(bootstrap) == 1.0


def test_what_a_split_tells_apart_shrinks_with_its_images() -> None:
    assert least_difference(192) == pytest.approx(0.063, abs=0.001)
    assert least_difference(4 * 192) == pytest.approx(least_difference(192) / 2)


@pytest.mark.parametrize(
    ("images", "of", "validation", "ending"),
    [
        (
            192,
            1920,
            0.1,
            "data.validation: 0.4 has 768, for 3.2 points, or export.folds: 5 judges the exported networks on 1,920 "
            "images, for 2.0 points",
        ),
        (192, 480, 0.4, "are luck; export.folds: 5 judges the exported networks on 480 images, for 4.0 points"),
        (192, None, 0.4, "are luck, more images alone help"),
        (5000, 50_000, 0.1, "that differ by 1.2 points or more, about"),
    ],
)
def test_a_coarse_split_gets_a_proposal(images: int, of: int | None, validation: float, ending: str) -> None:
    words = split_words(images, of, validation)
    assert words.startswith(f"{images:,} validation images tell two networks apart") and words.endswith(ending)


def test_an_error_is_a_metric_of_its_own() -> None:
    accuracy, error = (find_metric(key, qualities()) for key in ("test_accuracy", "test_accuracy_se"))
    assert accuracy.format_with(0.975, 0.0041) == "97.50 ± 0.41 %" and accuracy.format_with(0.975, None) == "97.50 %"
    assert error.format(0.0041) == "0.41 %" and error.phrase == "standard error of accuracy on test"
    assert find_metric("test_images", qualities()).format(192) == "192"
