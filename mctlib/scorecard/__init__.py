"""What moved this week, why, and who acts."""
