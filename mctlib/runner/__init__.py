"""A pack of notebooks: checked, executed, published."""

import sys

# jsonschema, which nbformat imports, builds this grammar (a second, in every process) only to check
# a string format that notebooks do not use; None makes it do without.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # None is no module
