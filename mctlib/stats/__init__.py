"""Arrays in, arrays out: no events, no words."""

from mctlib.stats.bootstrap import (
    BLOCK,
    N_BUCKETS,
    bucket_draws,
    dense,
    percentile_interval,
    pseudo_values,
    search_pvalues,
)
from mctlib.stats.decomposition import kitagawa, shapley_product
from mctlib.stats.proportions import (
    MAX_FALSE,
    MIN_CLUSTERS,
    MIN_SHARE,
    MIN_USERS,
    ClusterRate,
    Design,
    Difference,
    cluster_interval,
    cluster_rate,
    count_clusters,
    difference_design,
    differs,
    fdr,
    mantel_haenszel,
    newcombe,
    rate,
    risk_ratio,
    share_interval,
    wilson,
)
from mctlib.stats.regression import Fit, fieller, fit_ar1
from mctlib.stats.standardisation import (
    NOT_KNOWN,
    Estimate,
    Later,
    Standardised,
    clusters,
    e_value,
    later,
    standardise,
)
from mctlib.stats.student import FloatArray, Z, t_interval, t_point, t_pvalue
from mctlib.stats.survival import (
    MIN_WAITING,
    Curve,
    Influence,
    at_time,
    cloglog_interval,
    incidence,
    incidence_arrays,
    quantile,
    restricted_mean,
    supported_until,
)
from mctlib.stats.tracking import (
    Capture,
    Split,
    Spread,
    arrived,
    change_point,
    chapman,
    mcnemar,
    quasi_binomial,
)
