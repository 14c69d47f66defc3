"""Tables to pictures, in one house style; one file a notebook."""

from mctlib.plots.activation import (
    plot_activation_curves,
    plot_contrasts,
    plot_landmark,
    plot_retention,
    plot_retention_course,
    plot_retention_grid,
)
from mctlib.plots.attribution import (
    plot_approaches,
    plot_budget,
    plot_credit_surface,
    plot_late_converters,
    plot_partners,
    plot_rank_bump,
    plot_windows,
)
from mctlib.plots.audit import plot_completeness
from mctlib.plots.funnel import (
    plot_change,
    plot_change_steps,
    plot_drivers,
    plot_funnel,
    plot_funnel_segments,
    plot_funnel_times,
    plot_funnel_weeks,
    plot_rules,
)
from mctlib.plots.roi import plot_before_after, plot_rungs
from mctlib.plots.scorecard import plot_lifecycle, plot_weeks
from mctlib.plots.signals import plot_meanings, plot_overlap, plot_signals

__all__ = [
    "plot_activation_curves",
    "plot_approaches",
    "plot_before_after",
    "plot_budget",
    "plot_change",
    "plot_change_steps",
    "plot_completeness",
    "plot_contrasts",
    "plot_credit_surface",
    "plot_drivers",
    "plot_funnel",
    "plot_funnel_segments",
    "plot_funnel_times",
    "plot_funnel_weeks",
    "plot_landmark",
    "plot_late_converters",
    "plot_lifecycle",
    "plot_meanings",
    "plot_overlap",
    "plot_partners",
    "plot_rank_bump",
    "plot_retention",
    "plot_retention_course",
    "plot_retention_grid",
    "plot_rules",
    "plot_rungs",
    "plot_signals",
    "plot_weeks",
    "plot_windows",
    "style",
]
