"""notebooks/attribution.ipynb: credit by window and rule, and what touches add."""

from mctlib.attribution.credit_rules import RULES
from mctlib.attribution.windows import Attribution, attribution_windows

__all__ = ["Attribution", "RULES", "attribution_windows"]
