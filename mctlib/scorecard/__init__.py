"""What moved this week, why, and who acts."""

from mctlib.scorecard.scorecard import Scorecard, weekly_scorecard

__all__ = ["Scorecard", "weekly_scorecard"]
