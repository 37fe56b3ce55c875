"""The significance that the benchmark prints beside gained and lost images."""

import pytest
from bench_networks import mcnemar


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (0, 3), (28, 23), (33, 45), (20, 111)])
def test_mcnemar_is_the_exact_binomial_test(gained, lost):
    stats = pytest.importorskip("scipy.stats")
    total = gained + lost
    expected = stats.binomtest(gained, total).pvalue if total else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, rel=1e-9)
