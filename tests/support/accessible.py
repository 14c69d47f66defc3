"""What axe asks of a page, as far as its HTML alone can tell."""

import re
from collections import Counter
from itertools import pairwise

from bs4 import BeautifulSoup

LANDMARKS = ("header", "main", "footer")


def faults(html):
    """What somebody who reads by ear or keyboard would stumble on, a sentence each."""
    page = BeautifulSoup(html, "html.parser")
    found = []
    if not page.html.get("lang"):
        found.append("the page has no language")
    if not (page.title and page.title.get_text(strip=True)):
        found.append("the page has no title")
    levels = [int(h.name[1]) for h in page.find_all(re.compile("^h[1-6]$"))]
    if levels.count(1) != 1:
        found.append(f"{levels.count(1)} h1")
    found += [f"h{b} after h{a}" for a, b in pairwise(levels) if b > a + 1]
    if len(page.find_all("main")) != 1:
        found.append("not one main")
    first, *parts = page.body.find_all(True, recursive=False)
    if first.name != "a" or first.get("href") != f"#{page.main and page.main.get('id')}":
        found.append("what takes the focus first does not lead to the content")
    found += [f"{p.name} outside the landmarks" for p in parts if p.name not in LANDMARKS]
    found += ["a nav without a name" for nav in page.find_all("nav") if not nav.get("aria-label")]
    ids = Counter(tag["id"] for tag in page.find_all(id=True))
    found += [f"id {name} stands {n} times" for name, n in ids.items() if n > 1]
    for a in page.find_all("a"):
        if not _name(a):
            found.append(f"a link without a name: {a}")
        if (to := a.get("href", "")).startswith("#") and to[1:] not in ids:
            found.append(f"a link to nowhere: {to}")
    for img in page.find_all("img"):
        if img.get("alt") is None:
            found.append("a picture without alt")
    for svg in page.find_all("svg"):
        if svg.get("aria-hidden") != "true" and (svg.get("role") != "img" or not _name(svg)):
            found.append("a drawing without a name")
    regions = Counter(tag.get("aria-label") for tag in page.find_all(role="region"))
    found += [f"region {name!r} stands {n} times" for name, n in regions.items() if n > 1]
    for tag in page.find_all(tabindex=True):
        if tag["tabindex"] != "0" or tag.get("role") != "region" or not _name(tag):
            found.append("what takes the focus has no role and name")
    for table in page.find_all("table"):
        if not (table.caption and table.caption.get_text(strip=True)):
            found.append("a table without a caption")
        found += ["a head without scope" for th in table.find_all("th") if not th.get("scope")]
        found += ["an empty head" for th in table.find_all("th") if not th.get_text(strip=True)]
    for listing in page.find_all(["ul", "ol"]):
        if any(child.name != "li" for child in listing.find_all(True, recursive=False)):
            found.append("a list that holds something else")
    for fold in page.find_all("details"):
        if not (fold.summary and fold.summary.get_text(strip=True)):
            found.append("a fold without a summary")
    return found


def _name(tag):
    return tag.get("aria-label") or tag.get_text(strip=True)


def contrast(one, other):
    """WCAG's ratio of two colours like #1b2430 or #fff."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour):
    digits = colour.lstrip("#")
    digits = "".join(2 * c for c in digits) if len(digits) == 3 else digits
    parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear))
