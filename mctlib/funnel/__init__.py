"""notebooks/funnel.ipynb: where users stop, for whom, and what moved."""

from mctlib.funnel.conversion import Funnel, diagnose_funnel
from mctlib.funnel.decomposition import Change, explain_change
from mctlib.funnel.drivers import Drivers, drop_off_drivers
from mctlib.funnel.vendor_rules import RuleComparison, compare_rules
