# SPDX-License-Identifier: Apache-2.0
"""Laws of the threshold, and the false-positive rate it states."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from anomalib_fsad.threshold import student_quantile, threshold_from_normals

scores = st.lists(st.floats(0.01, 10), min_size=3, max_size=60, unique=True)
rates = st.floats(0.005, 0.4)


@given(scores, rates, st.floats(0.1, 10))
def test_follows_the_scale_of_the_scores(values, rate, factor):
    plain = threshold_from_normals(values, rate).value
    assert threshold_from_normals(np.array(values) * factor, rate).value == pytest.approx(factor * plain, rel=1e-6)


@given(scores, rates)
def test_does_not_depend_on_their_order(values, rate):
    assert threshold_from_normals(values, rate) == threshold_from_normals(values[::-1], rate)


@given(scores, rates, rates)
def test_fewer_false_alarms_need_a_higher_threshold_within_a_method(values, one, other):
    low, high = (threshold_from_normals(values, rate) for rate in sorted((one, other)))
    assert low.value >= high.value or low.method != high.method


@pytest.mark.parametrize(("probability", "freedom"), [(0.95, 1), (0.99, 2), (0.9, 3), (0.95, 7), (0.999, 17)])
def test_student_quantile(probability, freedom):
    assert student_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-4)


@pytest.mark.parametrize("count", [3, 4, 8, 16])
def test_few_normals_keep_the_rate_on_average_if_lognormal(count):
    rng = np.random.default_rng(count)
    draws = np.exp(rng.normal(-2, 0.4, (1000, count)))
    exceeded = [stats.norm.sf(np.log(threshold_from_normals(draw, 0.05).value), loc=-2, scale=0.4) for draw in draws]
    assert threshold_from_normals(draws[0], 0.05).method == "lognormal"
    assert np.mean(exceeded) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("count", [19, 40, 99])
def test_many_normals_keep_the_rate_whatever_the_distribution(count):
    rng = np.random.default_rng(count)
    draws = rng.pareto(2, (1000, count))
    results = [threshold_from_normals(draw, 0.05) for draw in draws]
    assert {result.method for result in results} == {"order_statistic"}
    exceeded = np.mean([(1 + result.value) ** -2 for result in results])
    rank = np.ceil(round((count + 1) * 0.95, 9))
    assert exceeded == pytest.approx(1 - rank / (count + 1), abs=0.008)
    assert exceeded < 0.058


@pytest.mark.parametrize(
    ("values", "rate", "message"),
    [
        ([0.1], 0.05, "at least 3 normal images, better 8, and 1 were enrolled"),
        ([], 0.05, "at least 3"),
        ([0.1, np.nan, 0.2], 0.05, "must be finite"),
        ([0.2, 0.2, 0.2], 0.05, "are they copies"),
        ([0.1, 0.2, 0.3], 0.0, "target_fpr=0.0 must lie"),
        ([0.1, 0.2, 0.3], 1, "target_fpr=1 must lie"),
    ],
)
def test_says_what_is_wrong(values, rate, message):
    with pytest.raises(ValueError, match=message):
        threshold_from_normals(values, rate)
