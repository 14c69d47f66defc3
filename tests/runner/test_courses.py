"""A headline over the runs: its course, what is new, and data that were told anew."""

import re
from dataclasses import replace

import pytest

from mctlib.headlines import Action, Against, Headline
from mctlib.runner.courses import courses, line, mark_restated, redefined
from mctlib.runner.pages import of_all, of_run, things
from mctlib.runner.record import Report, RunRecord


def run_of(as_of, value, *, status="good", parameters=None, **how):
    """A run with one report and one level, half a point to either side of it."""
    level = Headline(
        name="rate", label="Rate", value=value, low=value - 0.5, high=value + 0.5, unit="%", **how
    )
    report = Report("funnel", "notebooks/funnel.ipynb", {"as_of": as_of, **(parameters or {})})
    report.title, report.status, report.headlines = "Where?", status, [level]
    report.finding = {"finding": "Found."}
    started = "2026-04-01T06:00:00Z"
    return RunRecord("weekly", "d", as_of, status, started, 1.0, "", None, {}, [report])


def course_of(*past, now):
    return courses(now, past)["funnel"][0]


def test_a_level_is_compared_with_the_run_before():
    now = run_of("2026-03-15", 20.4)
    course = course_of(run_of("2026-03-01", 18.0), run_of("2026-03-08", 20.2), now=now)
    assert [p.headline.value for p in course.points] == [18.0, 20.2, 20.4]
    told = course.now
    assert (told.verdict, told.kind, told.note) == (
        "no clear change",
        "unsure",
        "last run 20.2\u00a0%",
    )
    assert told.against == Against("run", 20.2, "last run")
    assert course.since == "20.2\u00a0% last run"
    moved = course_of(run_of("2026-03-08", 25.0), now=now).now
    assert (moved.verdict, moved.kind) == ("sure", "good"), "its range leaves the number before out"


def test_a_count_without_a_range_has_no_change_that_is_clear_or_not():
    now = run_of("2026-03-15", 0.0)
    count = replace(now.notebooks[0].headlines[0], low=None, high=None, note="nothing new")
    now.notebooks[0].headlines = [count]
    course = course_of(run_of("2026-03-08", 2.0), now=now)
    assert (course.now.verdict, course.now.against) == ("", None)
    assert course.since == "2.0\u00a0% last run"


def test_without_a_run_before_there_is_nothing_to_compare_with():
    course = course_of(now=run_of("2026-03-15", 20.4))
    assert course.now.verdict == "" and course.since == ""


def test_failed_and_later_runs_and_other_headlines_are_no_part_of_a_course():
    other = run_of("2026-03-02", 3.0)
    other.notebooks[0].headlines = [replace(other.notebooks[0].headlines[0], name="else")]
    past = [run_of("2026-03-01", 1.0, status="failed"), other, run_of("2026-03-22", 9.0)]
    assert len(course_of(*past, now=run_of("2026-03-15", 20.4)).points) == 1


def test_what_was_asked_otherwise_is_named():
    before = run_of("2026-03-08", 20.2, parameters={"window": "7d"})
    now = run_of("2026-03-15", 20.4, parameters={"window": "14d", "change_by": "plan"})
    assert course_of(before, now=now).since.endswith("asked otherwise: change by and window")


def test_a_period_told_in_weeks_moves_along_and_is_asked_alike():
    before = run_of("2026-03-08", 20.2, parameters={"after": ["2026-02-01", "2026-02-28"]})
    now = run_of("2026-03-15", 20.4, parameters={"after": ["2026-02-08", "2026-03-07"]})
    assert course_of(before, now=now).since.endswith("asked otherwise: after")
    for run in (before, now):
        run.notebooks[0].asked = {"after": "last 4w"}
    assert course_of(before, now=now).since == "20.2\u00a0% last run"
    before.notebooks[0].asked = {"after": "last 8w"}
    assert course_of(before, now=now).since.endswith("asked otherwise: after")


def test_what_the_plan_means_otherwise_is_named():
    before, now = run_of("2026-03-08", 20.2), run_of("2026-03-15", 20.4)
    before.definitions = {"Hired": "hired within 7d", "Called": "called", "Gone": "gone"}
    now.definitions = {"Hired": "hired within 14d", "Called": "called", "New": "new"}
    (said,) = redefined(now, [before])
    assert said.endswith("defines anew: \u201cGone\u201d, \u201cHired\u201d and \u201cNew\u201d.")
    assert redefined(now, []) == redefined(now, [run_of("2026-03-08", 20.2)]) == []
    assert redefined(now, [now]) == [], "a run of the same day is none before"
    before.definitions = now.definitions
    assert redefined(now, [before]) == []


def test_a_number_that_grows_with_the_days_says_so():
    now = run_of("2026-03-15", 20.4, cumulative=True)
    assert course_of(run_of("2026-03-08", 20.2), now=now).since.endswith("counts more days")


@pytest.mark.parametrize(
    ("before", "parameters", "anew"),
    [(20.2, {}, True), (20.41, {}, False), (20.2, {"window": "7d"}, False)],
)
def test_another_number_of_the_same_day_is_a_restated_one(before, parameters, anew):
    now = run_of("2026-03-15", 20.4)
    mark_restated(now, [run_of("2026-03-15", before, parameters=parameters)])
    assert now.notebooks[0].headlines[0].restated is anew


def test_a_course_as_points_of_a_picture():
    course = course_of(run_of("2026-03-08", -1.0), now=run_of("2026-03-15", 1.0))
    drawn = line(course, 70, 24)
    (x0, y0, *_), (x1, y1, *_) = drawn["points"]
    assert x0 < x1 and y0 > y1, "later is right, more is up"
    assert drawn["zero"] == 12.0, "in the middle of -1.5 and 1.5"


def test_a_number_that_is_not_known_has_a_dash_and_no_course(tmp_path):
    runs = [run_of(day, 0.0) for day in ("2026-03-01", "2026-03-08", "2026-03-15")]
    for run in runs:
        (unknown,) = run.notebooks[0].headlines
        run.notebooks[0].headlines = [replace(unknown, value=None, low=None, high=None)]
        run.folder = str(tmp_path / "weekly" / run.as_of)
    assert line(course_of(*runs[:2], now=runs[2]), 70, 24)["points"] == []
    assert "\u2013" in of_run(runs[2], courses(runs[2], runs[:2]))
    assert "Rate" in of_all(runs, [], tmp_path)


def test_the_index_says_first_what_needs_somebody():
    bad = {"verdict": "sure", "tone": "unwanted", "act": True}
    now = run_of("2026-03-15", 20.4, **bad)
    past = courses(now, [])
    assert [thing.headline.name for thing in things(now, past)] == ["rate"]
    assert "1 thing needs you: Rate (20.4\u00a0%)." in of_run(now, past)
    calm = run_of("2026-03-15", 20.4)
    assert "Nothing needs you" in of_run(calm, courses(calm, []))


def test_a_row_has_the_state_of_its_own_number_and_says_nothing_of_no_run_before():
    now = run_of("2026-03-15", 20.4)
    level = now.notebooks[0].headlines[0]
    bad = replace(level, name="else", verdict="sure", tone="unwanted", act=True)
    now.notebooks[0].headlines.append(bad)
    page = of_run(now, courses(now, []))
    assert "1 thing needs you" in page and "\u25b2</span>" not in page
    assert "first run" not in page and ">Course<" not in page and "Since last run" not in page
    past = [run_of(day, 20.0) for day in ("2026-03-01", "2026-03-08")]
    page = of_run(now, courses(now, past))
    assert ">Course<" in page and "Since last run" in page and "<polyline" in page
    now.notebooks[0].headlines[0] = replace(level, cumulative=True)
    page = of_run(now, courses(now, past))
    assert "<polyline" not in page, "what grows with the days has no trend"


def test_what_may_be_chance_may_need_somebody_all_the_same():
    now = run_of("2026-03-15", 20.4, verdict="not clear", act=True)
    page = of_run(now, courses(now, []))
    assert '<li class="card unsure">' in page and "Nothing surely needs you" in page


def asking(*actions, unsure=()):
    """A run of one report an action, each about a number that asks for somebody."""
    run = run_of("2026-03-15", 20.4, verdict="sure", tone="unwanted", act=True)
    (report,) = run.notebooks
    run.notebooks = []
    for k, (text, role) in enumerate(actions):
        headline = report.headlines[0]
        if k in unsure:
            headline = replace(headline, verdict="not clear")
        action = Action(text=text, role=role, about="rate")
        run.notebooks.append(
            replace(report, name=f"page {k}", headlines=[headline], actions=[action])
        )
    return run


MEND = ("Mend \u201cA step\u201d and \u201cB step\u201d on Android.", "Collector")


def summary_of(run):
    return re.search('<p class="lead">(.*?)</p>', of_run(run, courses(run, [])))[1]


def test_the_index_begins_with_the_first_two_things_to_do():
    test = ("Test \u201cC: step\u201d: it may help.", "Lead")
    said = summary_of(asking(("Ask them.", "Lead"), MEND, test, unsure=[0]))
    assert said == (
        "2 things need you, first: mend \u201cA step\u201d and \u201cB step\u201d on Android; "
        "test \u201cC: step\u201d."
    ), "what may be chance is not counted, and comes last"
    assert summary_of(asking(MEND)).startswith("1 thing needs you: mend \u201cA step\u201d")
    long = (f"Ask {'again ' * 25}.", "Lead")
    assert len(summary_of(asking(MEND, long)).split()) <= 25


@pytest.mark.parametrize(
    ("other", "n"),
    [
        (("Mend Android: it loses \u201cB step\u201d.", "Collector"), 1),
        (("Mend Android: it loses \u201cB step\u201d.", "Lead"), 2),
        (("Mend iOS: it loses \u201cB step\u201d.", "Collector"), 2),
        (("Mend Android: it loses \u201cC step\u201d.", "Collector"), 2),
        (("Mend \u201cB step\u201d.", "Collector"), 2),
    ],
)
def test_what_two_pages_ask_of_one_role_is_one_card(other, n):
    run = asking(MEND, other)
    told = things(run, courses(run, []))
    assert len(told) == n and told[0].report.name == "page 0"
