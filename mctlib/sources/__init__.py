"""Export files and warehouse answers to a loaded log; the demo product."""
