"""Tables to pictures, in one house style; one file a notebook."""

from mctlib.plots.activation import plot_activation_curves, plot_contrasts, plot_landmark
from mctlib.plots.attribution import (
    plot_approaches,
    plot_budget,
    plot_credit_surface,
    plot_late_converters,
    plot_partners,
    plot_rank_bump,
    plot_windows,
)
from mctlib.plots.funnel import (
    plot_change,
    plot_change_steps,
    plot_drivers,
    plot_funnel,
    plot_funnel_cohorts,
    plot_funnel_segments,
    plot_funnel_times,
    plot_funnel_weeks,
    plot_rules,
)
from mctlib.plots.roi import plot_before_after, plot_rungs
from mctlib.plots.scorecard import plot_board, plot_lifecycle, plot_weeks

__all__ = [
    "plot_activation_curves",
    "plot_approaches",
    "plot_before_after",
    "plot_board",
    "plot_budget",
    "plot_change",
    "plot_change_steps",
    "plot_contrasts",
    "plot_credit_surface",
    "plot_drivers",
    "plot_funnel",
    "plot_funnel_cohorts",
    "plot_funnel_segments",
    "plot_funnel_times",
    "plot_funnel_weeks",
    "plot_landmark",
    "plot_late_converters",
    "plot_lifecycle",
    "plot_partners",
    "plot_rank_bump",
    "plot_rules",
    "plot_rungs",
    "plot_weeks",
    "plot_windows",
    "style",
]
