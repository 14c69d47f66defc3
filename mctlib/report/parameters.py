"""What a notebook may be asked: one model a notebook, whose types know the data.

What a model leaves to a default is what a dataset other than the demo gets where nothing is given.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from mctlib.contract import SOURCES, ParameterError
from mctlib.eventlog.steps import window_of
from mctlib.report.parameter_types import (
    Apart,
    Arms,
    ColumnOrNone,
    CostError,
    Drivers,
    Duration,
    Durations,
    Event,
    EventOrNone,
    Exclusion,
    Funnel,
    Kinds,
    Later,
    Metric,
    Moment,
    Money,
    Name,
    NotNegative,
    Outcomes,
    Period,
    Positive,
    Share,
    Sources,
    StepNumber,
    Term,
    Window,
    Worth,
    one_of,
    segment_of,
)


class Parameters(BaseModel):
    """Of every notebook. as_of comes first: periods are told by it."""

    model_config = ConfigDict(validate_default=True)
    as_of: Any


class FunnelParameters(Parameters):
    """Of notebooks/funnel.ipynb."""

    steps: Funnel
    window: Window = ""
    order: Annotated[str, one_of("ordered", "strict", "unordered")] = "ordered"
    competing: EventOrNone = ""
    exclude: list[Exclusion] = []
    optional: list[StepNumber] = []
    hold: list[Name] = []
    by: ColumnOrNone = ""
    cohorts: Annotated[str, one_of("week", "month")] = "week"
    after: Period = []
    before: Period = []
    change_by: ColumnOrNone = ""
    required: list[StepNumber] = []
    drivers: Drivers = {}
    correct_for_loss: bool = False

    @model_validator(mode="after")
    def _whole(self, info: ValidationInfo) -> FunnelParameters:
        """What only the whole question shows, in the analysis' own words."""
        from mctlib.funnel.conversion import read_question
        from mctlib.funnel.decomposition import read_periods, read_required

        log: Any = info.context
        fields = ("order", "exclude", "optional")
        asked = {name: getattr(self, name) for name in fields}
        steps, *_ = read_question(log, self.steps, competing=self.competing or None, **asked)
        if self.before and not self.after:
            raise ParameterError('before: compared with what? "after" names no period.')
        if self.before:
            read_required(steps, self.required)
            window = window_of(steps, self.window)
            read_periods(log, self.before, self.after, window=window, as_of=self.as_of)
        return self


class ActivationParameters(Parameters):
    """Of notebooks/activation.ipynb."""

    start: Event
    activation: Later
    competing: EventOrNone = ""
    censor: EventOrNone = ""
    observed_from: EventOrNone = ""
    by: ColumnOrNone = ""
    adjust: Apart = []
    strata: Apart = []
    horizon: Duration = "90d"
    reference: Annotated[list[Any], segment_of("by")] = []
    landmark: Durations = ["3d"]
    returns: EventOrNone = ""
    period: Duration = "1w"
    at_least: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _whole(self, info: ValidationInfo) -> ActivationParameters:
        """What only the whole question shows, in the analysis' own words."""
        from mctlib.activation.clocks import clock_roles
        from mctlib.activation.landmark import read_landmarks

        roles = ("start", "activation", "competing", "censor", "observed_from")
        log: Any = info.context
        clock_roles(log, {role: getattr(self, role) or None for role in roles})
        read_landmarks(self.landmark, self.horizon)
        return self


class AttributionParameters(Parameters):
    """Of notebooks/attribution.ipynb."""

    conversion: Event
    start: list[Event] = []
    competing: EventOrNone = ""
    windows: Durations
    rule: Annotated[
        str, one_of("first", "last", "linear", "time_decay", "position", "markov", "shapley")
    ] = "linear"
    sources: Sources = list(SOURCES)
    half_life: Duration = "7d"
    touches: list[Event] = []
    value: Money = None
    value_of: Worth = ""
    steps: Funnel
    kinds: Kinds = []


class RoiParameters(Parameters):
    """Of notebooks/roi.ipynb."""

    start: Event
    success: Event
    window: Window = ""
    metric: Metric = ""
    by: ColumnOrNone = ""
    treated: Annotated[Any, segment_of("by")] = ""
    change_at: Moment
    covariates: list[Event] = []
    value: Money = None
    margin: Share = 1
    cost: Money = None
    cost_error: CostError = []
    wish: NotNegative = 0
    arms: Arms = ""
    arms_reference: Annotated[Any, segment_of("arms")] = ""
    arms_users: Annotated[str, one_of("", "new", "known")] = ""
    shares: Annotated[dict[str, Positive], segment_of("arms")] = {}


class AuditParameters(Parameters):
    """Of notebooks/audit.ipynb."""


class ScorecardParameters(Parameters):
    """Of notebooks/scorecard.ipynb."""

    by: ColumnOrNone = ""


class SignalsParameters(Parameters):
    """Of notebooks/signals.ipynb."""

    start: EventOrNone = ""
    events: list[Event] = []
    horizon: Duration = "60d"
    outcomes: Outcomes
    landmark: list[Duration] = []
    adjust: list[ColumnOrNone] = []
    competing: EventOrNone = ""
    term: Term = ""
    action: EventOrNone = ""


MODELS: dict[str, type[Parameters]] = {
    "funnel": FunnelParameters,
    "activation": ActivationParameters,
    "attribution": AttributionParameters,
    "roi": RoiParameters,
    "signals": SignalsParameters,
    "audit": AuditParameters,
    "scorecard": ScorecardParameters,
}

# Days and money of the demo's story: whoever asks another dataset for all of a group left it there.
OF_THE_DEMO: dict[str, list[dict[str, Any]]] = {
    "funnel": [{"before": ["2026-06-29", "2026-08-09"], "after": ["2026-09-14", "2026-10-25"]}],
    "attribution": [{"value": 120.0}],
    "roi": [{"change_at": "2026-08-10"}, {"value": 45.0, "cost": 12000.0}],
}
