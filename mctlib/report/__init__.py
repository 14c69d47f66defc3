"""What a notebook shows: header, tables, pictures, finding; and how it begins."""

from mctlib.report.begin import begin
from mctlib.report.display import figure, finding, header, table

__all__ = ["begin", "figure", "finding", "header", "table"]
