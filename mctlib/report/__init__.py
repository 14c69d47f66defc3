"""What a notebook shows: header, tables, pictures, finding."""

from mctlib.report.display import figure, finding, header, suppress, table

__all__ = ["figure", "finding", "header", "suppress", "table"]
