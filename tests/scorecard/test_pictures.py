"""The scorecard's pictures, also where there is nothing to draw."""

import matplotlib.pyplot as plt
import pandas as pd

from mctlib import plots
from mctlib.plots.scorecard import picture_of
from tests.scorecard.conftest import LAST, product, scorecard_of


def test_the_number_that_fell_is_drawn_with_its_week_and_the_rivals_move(fallen):
    found = scorecard_of(fallen)
    fig = plots.plot_weeks(found.weeks, found.alerts, found.timeline)
    top = fig.axes[0]
    assert top.get_title(loc="left") == "Booked"
    (point,) = [line for line in top.lines if line.get_marker() == "o"]
    assert len(point.get_xdata()) == 1
    assert any("instant booking" in text.get_text() for text in top.texts)
    assert picture_of(found.weeks, found.alerts).startswith(b"\x89PNG")
    plt.close("all")


def test_what_is_empty_is_drawn_without_a_fault():
    found = scorecard_of(product(weeks=3))
    assert found.timeline.empty
    assert found.lifecycle.empty
    plots.plot_weeks(found.weeks, found.alerts, found.timeline)
    plots.plot_lifecycle(found.lifecycle)
    plt.close("all")


def test_the_lifecycle_lies_on_top_of_each_other(fallen):
    life = scorecard_of(fallen).lifecycle
    ax = plots.plot_lifecycle(life)
    assert len(ax.collections) == 4
    assert life["week"].max() == pd.Timestamp(LAST)
    plt.close("all")
