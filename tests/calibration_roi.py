"""Before and after a change, by simulation: lines of the table of `tests.calibration`."""

from itertools import product

import numpy as np
import pandas as pd

from mctlib import phrases
from mctlib.roi import compare_before_after
from mctlib.roi import estimators as cf
from mctlib.roi import segments as several
from mctlib.roi.course import course
from mctlib.roi.difference import Moves
from mctlib.roi.rung import DID, Rung
from tests.support.calibration import Row, at_least, at_most, rejections
from tests.support.series import ar1, as_weeks, panel_of_factors, weeks_of

COURSES = ("constant", "building up", "fading", "late")


def effect_of(name: str, n_post: int) -> np.ndarray:
    """An effect of mean 1 over the weeks after; a late one begins after 4 of them, or half."""
    k = np.arange(n_post)
    late = k >= min(4, n_post // 2)
    return {
        "constant": np.ones(n_post),
        "building up": (2 * k + 1) / n_post,
        "fading": (2 * n_post - 2 * k - 1) / n_post,
        "late": late / late.mean(),
        "none": np.zeros(n_post),
    }[name]


def cell(
    name: str, truth: str, off: np.ndarray, half: np.ndarray, bias: float, shown: np.ndarray
) -> list[Row]:
    """The rows of one cell: ``off`` the true mean, by interval; bias relative to the mean."""
    told = f"half-width {np.median(half):.2f}, shown {shown.mean():.2f}"
    return [
        Row(f"{name}, bias of the mean", truth, bias, -0.05, 0.05),
        at_least(f"{name}, coverage", truth, np.abs(off) <= half, 0.93, told),
    ]


def interrupted_courses(n: int) -> list[Row]:
    """24 cells: an effect of mean 2 of any course, AR(1) weeks with innovations of 1.

    The estimate is linear in the weeks, so its bias is the one on the same noise with and without
    the effect.
    """
    rows = []
    cells = product(((14, 6), (52, 12)), (0.0, 0.3, 0.6), COURSES)
    for seed, ((n_pre, n_post), rho, name) in enumerate(cells):
        effect = np.r_[np.zeros(n_pre), 2 * effect_of(name, n_post)]
        noise = ar1(np.random.default_rng(seed), (n, n_pre + n_post), rho)
        found = [cf.against_trend(weeks_of(e + effect, n_pre)).widened(n_pre) for e in noise]
        bias = np.mean([f.weights @ effect for f in found]) / 2 - 1
        half = np.array([f.se * cf.stats.t_point(f.df) for f in found])
        estimate = np.array([f.effect for f in found])
        truth = f"{name}, rho {rho}, {n_pre} + {n_post} weeks"
        shown = np.abs(estimate) > half
        rows += cell("Interrupted series", truth, estimate - 2, half, bias, shown)
    return rows


def did(y: np.ndarray, n_pre: int, n_treated: int) -> tuple[Rung, bool]:
    """A difference-in-differences of segments (segments, weeks) of one size, and what it shows."""
    treated, n_control = np.arange(len(y)) < n_treated, len(y) - n_treated
    found = cf.against_level(weeks_of(y[treated].mean(axis=0) - y[~treated].mean(axis=0), n_pre))
    change = y[:, n_pre:].mean(axis=1) - y[:, :n_pre].mean(axis=1)
    own = change[~treated]
    moved = np.abs(own - (own.sum() - own) / (n_control - 1))
    rung = Rung(DID, effect=found.effect).with_errors(found.se, found.df)
    if n_treated > 1:
        share = np.where(treated, 1 / n_treated, 1 / n_control)
        rung = rung.with_errors(*several.apart(change, share, treated))
    elif n_control >= 19:
        p = (1 + (moved >= abs(found.effect)).sum()) / (1 + n_control)
        rung = Rung(DID, effect=found.effect, placebo_pvalue=p).with_errors(found.se, found.df)
    moves = Moves(
        n_treated, n_control, [], np.nan, "", moved.max(), found.pvalue, np.nan, np.nan, None
    )
    return rung, rung.is_clear and not phrases.that_hold(moves.doubts(rung))


def segment_courses(n: int) -> list[Row]:
    """24 cells: the same of segments, which also move by 0.5 of their own at the change."""
    rows, (n_pre, n_post) = [], (26, 8)
    cells = product(((3, 3), (10, 20)), (0.0, 0.3, 0.6), COURSES)
    for seed, ((n_treated, n_control), rho, name) in enumerate(cells):
        rng, n_all = np.random.default_rng(seed), n_treated + n_control
        effect = np.zeros((n_all, n_pre + n_post))
        effect[:n_treated, n_pre:] = 2 * effect_of(name, n_post)
        worlds = ar1(rng, (n, n_all, n_pre + n_post), rho) + effect
        worlds[..., n_pre:] += 0.5 * rng.normal(size=(n, n_all, 1))
        found = [did(y, n_pre, n_treated) for y in worlds]
        still = [did(y - effect, n_pre, n_treated)[0].effect for y in worlds[:10]]
        estimate = np.array([rung.effect for rung, _ in found])
        half = np.array([(rung.high - rung.low) / 2 for rung, _ in found])
        truth = f"{name}, rho {rho}, {n_treated} + {n_control} segments"
        shown = np.array([clear for _, clear in found])
        bias = float(np.mean(estimate[:10] - still)) / 2 - 1
        rows += cell("Difference-in-differences", truth, estimate - 2, half, bias, shown)
    return rows


def told_courses(n: int) -> list[Row]:
    """An effect of mean 4 of any course on a gap of 26 + 12 weeks: how often it is told."""
    rows, words = [], ("held", "grew", "faded", "came late")
    for seed, (name, word) in enumerate(zip(COURSES, words)):
        effect, told = np.r_[np.zeros(26), 4 * effect_of(name, 12)], np.zeros(n, bool)
        for k, y in enumerate(ar1(np.random.default_rng(seed), (n, 38), 0.3) + effect):
            found = cf.against_level(weeks_of(y, 26))
            path = pd.DataFrame({"gap": y - found.counterfactual, "n": 1.0})
            rung = Rung(DID, effect=found.effect, path=path, cov=found.cov)
            told[k] = course(rung.with_errors(found.se, found.df)).word == word
        rows.append(Row(f"Course told as {word}", f"{name}, mean 4", float(told.mean()), 0.85, 1.0))
    return rows


def quiet_series(n: int) -> list[Row]:
    """Weekly series without a change: how many show an effect."""
    rows = []
    lengths = (14, 6), (20, 8), (26, 8), (26, 12), (60, 30)
    for (n_pre, n_post), rho in product(lengths, (0.3, 0.6, 0.9)):
        noise = ar1(np.random.default_rng(len(rows)), (n, n_pre + n_post), rho)
        shown = [cf.against_trend(weeks_of(y, n_pre)).widened(n_pre).pvalue < 0.05 for y in noise]
        truth = f"rho {rho}, {n_pre} + {n_post} weeks"
        rows.append(at_most("Interrupted series, false alarms", truth, shown, 0.07))
    return rows


def quiet_segments(n: int) -> list[Row]:
    """Segments without a change, which move by themselves, alone or as a side, or are unlike.

    26 + 8 weeks; own: moves of each at the change, side: weeks of the treated as a
    whole, noisy: the treated ones' weeks.
    """
    rows, (n_pre, n_post) = [], (26, 8)
    worlds = [
        *product(((3, 3), (6, 14), (10, 20), (1, 4), (1, 10), (1, 20)), (0.0, 0.6), (0.0, 0.5)),
    ]
    cases = [(*sizes, rho, own, 0.0, 1.0) for sizes, rho, own in worlds]
    cases += [(*sizes, 0.3, 0.0, 0.5, 1.0) for sizes in ((3, 3), (6, 14))]
    cases += [(*sizes, 0.3, 0.0, 0.0, 3.0) for sizes in ((6, 14), (10, 20), (4, 4))]
    for n_treated, n_control, rho, own, side, noisy in cases:
        rng, n_all = np.random.default_rng(len(rows)), n_treated + n_control
        y = ar1(rng, (n, n_all, n_pre + n_post), rho)
        y[:, :n_treated] *= noisy
        y[..., n_pre:] += own * rng.normal(size=(n, n_all, 1))
        y[:, :n_treated] += side * ar1(rng, (n, 1, n_pre + n_post), rho)
        truth = f"{n_treated} + {n_control} segments, rho {rho}"
        for word, size in (("own moves", own), ("weeks of the side", side)):
            truth += f", {word} {size}" if size else ""
        truth += f", treated {noisy:g} times as noisy" if noisy > 1 else ""
        shown = [did(world, n_pre, n_treated)[1] for world in y]
        rows.append(at_most("Difference-in-differences, false alarms", truth, shown, 0.07))
    return rows


def synthetic_ranks(n: int) -> list[Row]:
    """Panels of two factors without a change: synthetic control by rank."""
    rng, first = np.random.default_rng(1), np.zeros(n)
    for k in range(n):
        weeks, donors = as_weeks(panel_of_factors(rng, 21, 20, 6), 20)
        first[k] = several.synthetic(weeks, donors).pvalue
    return [
        rejections(
            "Synthetic control by rank", "two factors, 20 donors", first - 1e-9, 1 / 21 + 1e-6
        )
    ]


LADDERS = (  # its course, treated and control segments, weeks, rho
    ("building up", 10, 20, 26, 12, 0.3),
    ("fading", 6, 14, 26, 8, 0.3),
    ("late", 1, 4, 26, 12, 0.0),
    ("late", 1, 0, 60, 30, 0.3),
    ("none", 3, 3, 26, 8, 0.6),
    ("none", 1, 0, 26, 8, 0.6),
)


def whole_ladder(n: int) -> list[Row]:
    """Six cells of the whole analysis, n / 8 data sets each: what the finding rests on."""
    rows, n = [], max(n // 8, 1)
    for name, n_treated, n_control, n_pre, n_post, rho in LADDERS:
        rng, n_all = np.random.default_rng(2), n_treated + n_control
        days = pd.date_range("2025-01-06", periods=7 * (n_pre + n_post))
        effect = np.zeros((n_all, n_pre + n_post))
        effect[:n_treated, n_pre:] = 3 * effect_of(name, n_post)
        names = np.repeat([f"s{i:02d}" for i in range(n_all)], len(days))
        hits, shown, wrong, off = [], [], [], []
        for y in 20 + ar1(rng, (n, n_all, n_pre + n_post), rho) + effect:
            value = np.repeat(y, 7, axis=1).ravel()
            frame = pd.DataFrame(
                {"day": np.tile(days, n_all), "segment": names, "n": 100, "value": value}
            )
            treated = list(dict.fromkeys(names))[:n_treated] if n_control else None
            result = compare_before_after(frame, change_at=days[7 * n_pre], treated=treated)
            best = result.rungs[result.rungs["supported"]].iloc[-1]
            truth = 0.0 if name == "none" else 3.0
            hits.append(best["effect_ci_lower"] <= truth <= best["effect_ci_upper"])
            shown.append(result.effect == "shown")
            wrong.append(result.effect == "shown" and best["effect"] <= 0)
            off.append(best["effect"] - truth)
        told = f"{name}, {n_treated} + {n_control} segments, {n_pre} + {n_post} weeks, rho {rho}"
        power = f"shown {np.mean(shown):.2f}, mean error {np.mean(off):+.2f}"
        rows.append(at_least("Whole ladder, coverage", told, np.array(hits), 0.93, power))
        if name == "none":
            rows.append(at_most("Whole ladder, false alarms", told, np.array(shown), 0.07))
        else:
            rows.append(
                at_most("Whole ladder, opposite effect, false alarms", told, np.array(wrong), 0.01)
            )
    return rows


ALL = (
    interrupted_courses,
    segment_courses,
    told_courses,
    quiet_series,
    quiet_segments,
    synthetic_ranks,
    whole_ladder,
)
