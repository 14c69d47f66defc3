"""What a page says before anything is unfolded, and words that do not belong there."""

import re

from bs4 import BeautifulSoup

# terms of the analyst's part, names as data have them, numbers and days that nobody says so
FOREIGN = re.compile(
    r"confidence interval|\bCI\b|95 % interval|significan|\bp ?[=<]|insufficient|censored|pending|"
    r"design effect|cluster|competing|RMST|hazard|dilution|placebo|indistinguishable|admissible|"
    r"incremental|excess|counterfactual|difference-in-|na[iï]ve|risk ratio|standardi[sz]ed|"
    r"false.discovery|multiple testing|completeness|recall|discrepanc|percentage point|\bpp\b|"
    r"conversion rate|[A-Za-z0-9]_[A-Za-z0-9]|(?<![\d.,])1 (?:user|day|point|week|alert)s\b|\d{7,}|"
    r"\bnan\b|\bNone\b|\d{4}-\d\d-\d\d"
)


def above(html):
    """Words that stand in sight, those of pictures among them; not how the page was made."""
    page = BeautifulSoup(html, "html.parser")
    for hidden in page.select("details > div, style, code, footer"):
        hidden.decompose()
    named = [tag["aria-label"] for tag in page.body.find_all(attrs={"aria-label": True})]
    return re.sub(r"\s+", " ", " ".join([page.body.get_text(" "), *named]))
