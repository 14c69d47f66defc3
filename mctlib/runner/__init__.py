"""A pack of notebooks: checked, executed, published."""
