"""notebooks/roi.ipynb: what did a change do to a metric, and did it pay."""

from mctlib.roi.before_after import BeforeAfter, compare_before_after
from mctlib.roi.experiment import Arms, compare_arms
from mctlib.roi.money import Money
from mctlib.roi.response_time import Speed, value_of_speed
