"""What a notebook shows: header, tables, pictures, finding."""

from mctlib.report.display import figure, finding, header, table

__all__ = ["figure", "finding", "header", "table"]
