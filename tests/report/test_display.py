"""What notebooks show: numbers in their units, small cells hidden, data never live."""

import csv
import re
from dataclasses import asdict

import nbconvert.filters.markdown_mistune as markdown
import numpy as np
import pandas as pd
import pytest

from mctlib import cells
from mctlib.contract import ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.headlines import Action, Headline
from mctlib.report import display as report
from mctlib.results import Result, suppress


@pytest.fixture
def shown(monkeypatch):
    """Collects what a notebook would display: (data, metadata) pairs, HTML objects as text."""
    outputs = []

    def display(data, *, raw, metadata=None):
        assert raw
        outputs.append((data, metadata or {}))

    monkeypatch.setattr(report, "display", display)
    monkeypatch.delenv("MCT_TABLES", raising=False)
    return outputs


def table_of(page):
    """The table of a page as text: header row, then body rows."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.S)
    return [
        [
            re.sub("<[^>]+>", "", cell).replace("\u00a0", " ")
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)
        ]
        for row in rows
    ]


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("conversion_rate", 0.1234, "12.3 %"),
        ("late_share", 1.0, "100.0 %"),
        ("conversion_rate", np.nan, "–"),
        ("roi", -0.5, "−50.0 %"),
        ("effect_rate", 0.171, "+17.1 pp"),
        ("rel_effect", 0.94, "+94.0 %"),
        ("n_users", 1234567, "1,234,567"),
        ("n_users", 12.0, "12"),
        ("risk_ratio", 0.5488, "0.55"),
        ("spend_amount", 1234567.0, "1.2 M"),
        ("cost_amount", 820000, "820 k"),
        ("cost_amount", 4567, "4.6 k"),
        ("value_amount", 12, "12"),
        ("value_amount", 2.5e9, "2.5 bn"),
        ("median_days", 4.75, "4.8"),
        ("horizon_days", 13.55, "13.6"),
        ("horizon_days", 14.0, "14"),
        ("segment", "2026-06-29", "2026‑06‑29"),
        ("segment", "a-b", "a-b"),
        ("since", "2026-06-29", "29 June 2026"),
        ("partner_id", "coupon_corner", "Coupon Corner"),
        ("partner_id", "Acme_GmbH", "Acme GmbH"),
        ("pvalue", 0.0004, "< 0.001"),
        ("qvalue", 0.0421, "0.042"),
        ("window_days", 14, "14"),
        ("day", pd.Timestamp("2026-04-06"), "6 April 2026"),
        ("shipped_at", pd.Timestamp("2026-04-06 12:30", tz="UTC"), "6 April 2026 12:30"),
        ("supported", True, "yes"),
        ("hazard_ratio", 1.23456, "1.23"),
        ("payback_days", np.inf, "no limit"),
        ("event", None, "–"),
        ("step", 3, "3"),
        ("credit", 12345.678, "12,346"),
    ],
)
def test_a_value_reads_in_its_unit(column, value, text):
    assert cells.cell(column, value).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("days", "heading", "first"),
    [
        ([5.25, 0.01], "Median, days", "5.2 (5.1–5.4)"),
        ([0.25, 0.01], "Median, hours", "6.0 (5.9–6.2)"),
        ([1.5, 0.01], "Median, hours", "36.0 (35.3–37.1)"),
        ([2.0, 0.01], "Median, days", "2.0 (2.0–2.1)"),
        ([10 / 1440], "Median, minutes", "10.0 (9.8–10.3)"),
        ([0.0], "Median, days", "0.0 (0.0–0.0)"),
    ],
)
def test_a_column_of_durations_takes_the_largest_unit_of_which_its_longest_has_two(
    days, heading, first
):
    days = np.array(days)
    frame = pd.DataFrame(
        {
            "event": ["x"] * len(days),
            "median_days": days,
            "median_days_ci_lower": days * 0.98,
            "median_days_ci_upper": days * 1.03,
        }
    )
    text, _ = cells.readable(frame, pd.Series(False, index=frame.index))
    assert (
        text.columns.tolist() == ["Event", heading]
        and text[heading][0].replace("\u00a0", " ") == first
    )


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("n_reached", "Reached"),
        ("conversion_rate", "Conversion rate"),
        ("median_days", "Median, days"),
        ("rel_effect", "Relative effect"),
        ("qvalue", "q-value"),
        ("logrank_pvalue", "Logrank p-value"),
        ("cost_amount", "Cost"),
        ("n_reference", "Users of the reference"),  # beside the column "reference"
        ("roi", "ROI"),
        ("p90_days", "P90, days"),
        ("first_at", "First at"),
        ("day", "Day"),
    ],
)
def test_a_column_name_becomes_words(column, words):
    assert cells.heading(column) == words


def test_the_currency_stands_in_the_heading_of_every_amount(shown, tmp_path, monkeypatch):
    monkeypatch.setenv("MCT_TABLES", str(tmp_path))
    frame = pd.DataFrame({"rung": ["x"], "currency": ["EUR"], "n": [30], "cost_amount": [1200.0]})
    frame = frame.assign(value_amount=1.5e6, value_amount_ci_lower=1e6, value_amount_ci_upper=2e6)
    report.table(frame, "money", caption="Money")
    page = shown[0][0]["text/html"]
    assert "Cost, EUR" in page and "Value, EUR" in page and "Currency" not in page
    saved = pd.read_csv(tmp_path / "money.csv")
    assert saved["currency"].tolist() == ["EUR"] and "cost_amount" in saved
    text, _ = cells.readable(frame.assign(currency=""), pd.Series([False]))
    assert text.columns.tolist() == ["Rung", "Users", "Cost", "Value"]


def test_an_interval_joins_its_estimate_whichever_way_it_is_named(shown):
    frame = pd.DataFrame(
        {
            "step": [1, 2],
            "conversion_rate": [0.123, np.nan],
            "conversion_rate_ci_lower": [0.11, np.nan],
            "conversion_rate_ci_upper": [0.137, np.nan],
            "effect_rate": [-0.02, 0.1],
            "effect_ci_lower": [-0.031, 0.09],
            "effect_ci_upper": [-0.009, 0.11],
        }
    )
    report.table(frame, "steps", caption="Steps")
    head, *body = table_of(shown[0][0]["text/html"])
    assert head == ["Step", "Conversion rate", "Effect rate"]
    assert "Steps. In brackets: 95 % intervals<" in shown[0][0]["text/html"]
    assert body == [
        ["1", "12.3 % (11.0–13.7)", "−2.0 pp (−3.1 to −0.9)"],
        ["2", "–", "+10.0 pp (+9.0 to +11.0)"],
    ]


def test_a_table_is_the_same_twice_has_scopes_and_escapes_data(shown):
    frame = pd.DataFrame({"event": ["<script>alert(1)</script>", "a & b"], "n_users": [20, 30]})
    for _ in range(2):
        report.table(frame, "events", caption="Events <b>of</b> the data")
    first, second = (data["text/html"] for data, _ in shown)
    assert first == second
    assert first.count('scope="col"') == 2 and first.count('scope="row"') == 2
    assert (
        "<script" not in first
        and "<b>" not in first
        and "&lt;script&gt;" in first
        and "a &amp; b" in first
    )


def test_a_course_is_drawn_in_its_cell_and_told_where_nothing_is_drawn(
    shown, tmp_path, monkeypatch
):
    monkeypatch.setenv("MCT_TABLES", str(tmp_path))
    course = cells.Course('1 to 2 "or so"', (1.0, 2.0, 1.5), (1.0, 3.0))
    frame = pd.DataFrame({"name": ["a", "b"], "six_weeks": [course, None], "n_users": [50, 60]})
    report.table(frame, "board", caption="Board")
    page = shown[0][0]["text/html"]
    (line, months), told = re.findall('points="(.*?)"', page), re.search('aria-label="(.*?)"', page)
    # 48 wide and 18 high from 22 upwards, on one scale of 1 to 3, the newest at the right end
    assert line == "52.0,17.5 28.0,13.0 4.0,22.0"
    assert months == "116.0,4.0 68.0,22.0"
    assert told[1] == "1 to 2 &quot;or so&quot;"
    assert page.count("<svg") == 1
    assert 'a,"1 to 2 ""or so""",50' in (tmp_path / "board.csv").read_text()


def test_of_a_table_without_rows_only_the_caption_is_shown(shown, tmp_path, monkeypatch):
    monkeypatch.setenv("MCT_TABLES", str(tmp_path))
    report.table(pd.DataFrame(columns=["segment", "n_users"]), "arms", caption="No <arms>.")
    assert shown[0][0]["text/html"] == "<p>No &lt;arms&gt;.</p>"
    assert (tmp_path / "arms.csv").read_text() == "segment,n_users\n"


def test_rows_below_the_minimum_are_masked(shown, tmp_path, monkeypatch):
    monkeypatch.setenv("MCT_TABLES", str(tmp_path / "tables"))
    frame = pd.DataFrame(
        {
            "event": ["web", "ios", "none"],
            "n_users": [50, 9, 0],
            "n_paid": [5, 3, 0],
            "paid_rate": [0.1, 1 / 3, np.nan],
        }
    )
    report.table(frame, "paid", caption="Paid")
    body = table_of(shown[0][0]["text/html"])[1:]
    assert body == [
        ["web", "50", "5", "10.0 %"],
        ["iOS", "hidden", "–", "–"],
        ["none", "0", "0", "–"],
    ]
    kept = pd.read_csv(tmp_path / "tables/paid.csv")
    assert (
        kept.event.tolist() == ["web", "ios", "none"]
        and kept.n_users.fillna(-1).tolist() == [50, -1, 0]
        and kept.paid_rate.isna().tolist() == [False, True, True]
    )
    assert frame.n_users.tolist() == [50, 9, 0]  # the caller's frame stays as it was


def masked(frame, **options):
    return suppress(pd.DataFrame(frame), **options)[1].tolist()


def test_a_neighbour_is_masked_where_the_total_gives_the_only_small_one_away():
    segments = {"segment": ["all", "web", "ios", "android"], "n_users": [100, 60, 33, 7]}
    assert masked(segments) == [
        False,
        False,
        True,
        True,
    ]  # 100 - 60 - 33 would be 7: the smallest other one goes too
    assert masked({"segment": ["web", "ios", "android"], "n_users": [60, 33, 7]}) == [
        False,
        True,
        True,
    ]  # the total stands in the table of all users
    assert masked({"event": ["x", "y", "z"], "n_users": [60, 33, 7]}) == [
        False,
        False,
        True,
    ]  # no total, nothing to subtract from
    assert masked(
        {
            "segment": ["web", "ios", "web", "ios"],
            "step": [1, 1, 2, 2],
            "n_reached": [60, 40, 43, 7],
        }
    ) == [False, False, True, True]  # of each step
    assert masked({"segment": ["all", "web", "ios", "android"], "n_users": [75, 60, 8, 7]}) == [
        False,
        False,
        True,
        True,
    ]  # two are hidden already
    assert masked(segments, min_users=5) == [False] * 4


def test_a_cohort_is_a_part_of_all_users_however_long_it_was_followed():
    cohorts = {
        "segment": ["2026-01", "2026-02", "2026-03"],
        "n_reached": [60, 33, 7],
        "horizon_days": [14.0, 13.5, np.nan],
    }
    assert masked(cohorts) == [False, True, True]
    assert masked(
        {
            "segment": ["web", "ios", "web", "ios"],
            "step": pd.array([1, 1, None, None], "Int64"),
            "n_reached": [60, 40, 43, 7],
        }
    ) == [False, False, True, True]


def test_a_small_group_of_whom_nobody_got_there_is_masked():
    assert masked({"event": ["a", "b", "c"], "n_reached": [0, 0, 0], "n_entered": [7, 70, 0]}) == [
        True,
        False,
        False,
    ]


def test_the_total_is_taken_within_each_step():
    frame = {
        "segment": ["all", "web", "ios"] * 2,
        "step": [1] * 3 + [2] * 3,
        "n_reached": [100, 60, 40, 50, 43, 7],
    }
    assert masked(frame) == [False, False, False, False, True, True]


def test_masks_along_one_key_are_followed_along_the_other():
    # web/paid is small; its row total gives it away, so web/free goes;
    # then each column total gives one away, so ios goes too
    frame = {
        "platform": ["web", "web", "web", "ios", "ios", "ios", "all", "all", "all"],
        "plan": ["paid", "free", "all"] * 3,
        "n_users": [5, 50, 55, 40, 60, 100, 45, 110, 155],
    }
    assert masked(frame) == [True, True, False, True, True, False, False, False, False]


def test_no_formula_reaches_a_spreadsheet(shown, tmp_path, monkeypatch):
    monkeypatch.setenv("MCT_TABLES", str(tmp_path))
    report.table(
        pd.DataFrame(
            {
                "event": ["=HYPERLINK(1)", "@x", "plain"],
                "n_users": [20, 30, 40],
                "rel_change": [-0.5, 0.1, 0.2],
            }
        ),
        "x",
        caption="x",
    )
    kept = pd.read_csv(tmp_path / "x.csv")
    assert kept.event.tolist() == [
        "'=HYPERLINK(1)",
        "'@x",
        "plain",
    ] and kept.rel_change.tolist() == [-0.5, 0.1, 0.2]


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-2+3", "@SUM(1)", "\t=1", "\r=1+1", " =1+1", "\u00a0=1", "\ufeff=1", "\uff1d1"],
)
def test_a_cell_that_begins_like_a_formula_is_inert_in_any_cover(
    shown, tmp_path, monkeypatch, text
):
    monkeypatch.setenv("MCT_TABLES", str(tmp_path))
    frame = pd.DataFrame(
        {"event": [text, "two\nlines", "a\rb=1"], "n_users": [20, 30, 40], text: 1}
    )
    report.table(frame, "x", caption="x")
    with (tmp_path / "x.csv").open(newline="") as lines:
        head, *rows = csv.reader(lines)
    assert head == ["event", "n_users", f"'{text}"]
    assert [row[0] for row in rows] == [f"'{text}", "two\nlines", "a\rb=1"]
    assert '"a\rb=1"' in (tmp_path / "x.csv").read_bytes().decode()


def test_of_many_columns_some_are_shown_and_all_are_kept(shown, tmp_path, monkeypatch):
    monkeypatch.setenv("MCT_TABLES", str(tmp_path))
    frame = pd.DataFrame({"event": ["a"], "n_users": [20], "p0": [0.5]})
    report.table(frame, "x", caption="x", shown=["event", "p0"])
    assert list(pd.read_parquet(tmp_path / "x.parquet")) == list(frame)
    assert "P0" in shown[0][0]["text/html"] and "Users" not in shown[0][0]["text/html"]


def test_a_table_name_is_a_file_name():
    with pytest.raises(ParameterError, match='"../x" may hold only'):
        report.table(pd.DataFrame({"n_users": [1]}), "../x", caption="x")


NASTY = 'a_b *c* [x](http://evil) <script>alert(1)</script> $d$ `e` | ~~f~~ "g"\n# h'


def test_a_finding_is_the_same_words_for_people_and_for_the_runner(shown):
    act = Action(text=NASTY, role="analyst")
    tile = Headline(name="x", label=NASTY, value=1.0)
    sure = {"how_sure": (NASTY,), "caveats": (NASTY, "1. plain")}
    result = Result(finding=NASTY, headlines=(tile,), actions=(act,), **sure)
    report.finding(result)
    ((data, metadata),) = shown
    assert metadata["mctlib"] == {
        "finding": NASTY,
        "headlines": [asdict(tile)],
        "actions": [asdict(act)],
        "how_sure": [NASTY],
        "details": [""],
        "rules": [],
        "caveats": [NASTY, "1. plain"],
    }
    page = markdown.markdown2html_mistune(data["text/markdown"])
    assert not re.search(r"<(script|em|a|del|h\d|table|ol)\b", page)
    text = (
        re.sub("<[^>]+>", "", page)
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", '"')
        .replace("&#58;", ":")
        .replace("&#36;", "$")
    )
    assert text.count(NASTY.replace("\n", " ")) == 4 and page.count("<code>") == 3  # its own
    assert page.startswith("<p><strong>a_b ")


def test_of_further_results_findings_and_caveats_go_once_to_the_runner(shown):
    first, second = (
        Result(
            finding=f"{word} finding.",
            rule=rule,
            details=details,
            caveats=("Shared.", f"{word} caveat."),
        )
        for word, rule, details in (
            ("First", "", ()),
            ("Second", "counted (once) so.", ("_More_ of it.",)),
        )
    )
    report.finding(first, more=[second])
    ((data, metadata),) = shown
    assert data["text/markdown"] == (
        "**First finding.**\n\n"
        "How it was counted, and all caveats: `.rule`, `.details` and `.caveats` of each result."
    ), "what is read at once, and where the rest is"
    assert list(data) == ["text/markdown"]  # once
    told = metadata["mctlib"]
    assert told["details"] == ["", "Second finding. _More_ of it."]
    assert told["rules"] == ["counted (once) so."]
    assert told["caveats"] == ["Shared.", "First caveat.", "Second caveat."]


def tile(name, **how):
    return Headline(name=name, label=name, value=1.0, **how)


def test_news_speaks_first_and_what_somebody_must_do_stands_before_the_rest(shown):
    sure = {"verdict": "sure", "tone": "unwanted", "act": True}
    level = Result(
        finding="A level.",
        headlines=(tile("level"), tile("plain")),
        actions=(Action(text="Look.", role="a"),),
    )
    moved = Result(
        finding="It moved.",
        news=True,
        headlines=(tile("change"), tile("lost", **sure), tile("late", **sure)),
        actions=(Action(text="Mend.", role="b", about="lost"), Action(text="Ask.", role="c")),
    )
    report.finding(level, more=[moved])
    ((_, metadata),) = shown
    told = metadata["mctlib"]
    assert told["finding"] == "It moved." and told["details"] == ["A level.", ""]
    # the first of each result stays, then those somebody must act on; four in all
    assert [h["name"] for h in told["headlines"]] == ["level", "change", "lost", "late"]
    assert [a["text"] for a in told["actions"]] == ["Mend.", "Ask.", "Look."]


def test_a_picture_is_drawn_for_a_desk_and_in_a_run_for_a_phone_and_closed(
    shown, monkeypatch, tmp_path
):
    import matplotlib.pyplot as plt

    from mctlib.plots import style

    plt.close("all")  # what other tests left open

    def draw(label):
        ax = style.axes()
        ax.plot([1, 2], [3, 4], color=style.ACCENT)
        ax.set(xlabel="days", ylabel=label)
        return ax

    report.figure(draw, "<b>users</b>", title='Users by "event"', tells="all of them")
    assert shown.pop()[1]["mctlib_shown"]["narrow"] == "", "nobody looks at it in a notebook"
    monkeypatch.setenv("MCT_FIGURES", str(tmp_path))
    for drawn in (draw, lambda label: draw(label).figure):
        report.figure(drawn, "<b>users</b>", title='Users by "event"', tells="all of them")
    assert not plt.get_fignums()
    for data, metadata in shown:
        told = metadata["mctlib_shown"]
        assert data["text/plain"] == 'Users by "event": all of them'
        assert told["small"] == "<b>users</b>; days", "the axes' names stand in the caption"
        for svg, width in ((data["image/svg+xml"], 700), (told["narrow"], 350)):
            assert f'width="{width}"' in svg and 'aria-label="Users by &quot;event&quot;:' in svg
            assert "var(--blue,#0b5c96)" in svg and ">3.2</text>" in svg
            assert not re.search(r"<style|<script|<b>|DejaVu| id=\"(?!p)", svg)
    ids = [set(re.findall(r' id="([^"]+)"', data["image/svg+xml"])) for data, _ in shown]
    assert ids[0] and not ids[0] & ids[1], "two pictures of a page share no id"


def test_the_header_does_not_count_fewer_than_ten_users(shown):
    events = pd.DataFrame({"user_id": list("abc"), "event": "a", "timestamp": "2026-03-01 08:00"})
    log = EventLog.from_frame(events, name="tiny")
    report.header(log, rule="", as_of="2026-03-31")
    assert "tiny: 3 events of fewer than 10 users<" in shown[0][0]["text/html"]


def test_the_header_says_what_was_read_and_what_was_left_out(shown):
    events = pd.DataFrame(
        {
            "user_id": [f"u{i}" for i in range(20)] + [None],
            "event": "signed_up",
            "timestamp": pd.Timestamp("2026-03-01 08:00"),
        }
    )
    log = EventLog.from_frame(events, name="<b>tiny</b>")
    report.header(log, rule="signed_up, once", as_of="2026-03-31")
    page = shown[0][0]["text/html"]
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert facts == {
        "Data": "&lt;b&gt;tiny&lt;/b&gt;: 20 events of 20 users",
        "Rule": "signed_up, once",
        "Period": "1 March 2026 to 1 March 2026 in UTC, read up to 1 March 2026",
        "Left out": "1 row of events (no user)",
    }
