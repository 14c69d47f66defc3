"""A page as it is written from an executed notebook; in a browser: test_browser."""

import json

import nbformat.v4 as nb

from mctlib.headlines import Headline
from mctlib.runner.publish import write_pages
from mctlib.runner.record import Report, RunRecord
from tests.support.accessible import faults


def page_of(folder, *sections, headlines=()):
    """The page of a notebook whose sections show these outputs: (heading, metadata)."""
    cells = [nb.new_markdown_cell("# Where?")]
    for heading, told in sections:
        output = nb.new_output(
            "display_data", {"text/html": f"<p>{heading}!</p>"}, metadata={"mctlib_shown": told}
        )
        cells += [nb.new_markdown_cell(f"## {heading}"), nb.new_code_cell("x", outputs=[output])]
    (folder / "funnel.ipynb").write_text(json.dumps(nb.new_notebook(cells=cells)))
    report = Report("funnel", "notebooks/funnel.ipynb", {}, status="good")
    report.finding, report.headlines = {"finding": "Found in week 4."}, list(headlines)
    started = "2026-04-01T06:00:00Z"
    record = RunRecord("weekly", "d", "2026-03-31", "good", started, 1.0, "", None, {}, [report])
    write_pages(record, folder)
    return (folder / "funnel.html").read_text()


def test_a_part_that_shows_no_row_is_not_written(tmp_path):
    page = page_of(tmp_path, ("Full", {"tells": "3 of 4."}), ("Hollow", {"nothing": True}))
    assert "Full!" in page and "Hollow" not in page
    assert "<span>3 of 4</span>" in page, "a heading ends without a stop"
    assert not faults(page)


def test_tiles_fill_their_row_and_numbers_stay_with_their_words(tmp_path):
    tiles = [Headline(name=f"h{k}", label="Users by day 11", value=1.0) for k in range(3)]
    assert 'style="--n:3"' in page_of(tmp_path, headlines=tiles)
    page = page_of(tmp_path, headlines=[*tiles, tiles[0]])
    assert 'style="--n:4"' in page and "Users by day\u00a011" in page and "week\u00a04" in page
    assert "made 1 April 2026, 06:00 UTC" in page
