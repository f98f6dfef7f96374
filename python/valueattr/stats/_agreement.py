"""How far raters agree on labels that have no order, beyond what chance would do."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain


def agreement(labels: Iterable[Sequence[Hashable]]) -> float:
    """Krippendorff's alpha of nominal labels: 1 where raters always agree, 0 where they agree as chance would.

    alpha = 1 - D_o / D_e, observed over expected disagreement. n labels stand in units that have two or more, m_u in unit
    u, of which n_uc are c; n_c of all are c. Then D_o = sum_u sum_c n_uc (m_u - n_uc) / (m_u - 1) / n, and
    D_e = sum_c n_c (n - n_c) / (n (n - 1)). Krippendorff (2011), Computing Krippendorff's Alpha-Reliability.

    NaN where it is not defined: no unit has two labels, or all that count are the same label.

    Args:
        labels: (units, raters); None or NaN where a rater gave no label.
    """
    # NaN is not itself.
    units = [Counter(label for label in unit if label is not None and label == label) for unit in labels]
    paired = [counts for counts in units if counts.total() > 1]
    every = Counter(chain.from_iterable(counts.elements() for counts in paired))
    n = every.total()
    expected = sum(count * (n - count) for count in every.values())
    if not expected:
        return math.nan
    observed = sum(
        count * (counts.total() - count) / (counts.total() - 1)
        for counts in paired
        for count in counts.values()
    )
    return 1 - (n - 1) * observed / expected
