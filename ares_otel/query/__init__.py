"""Typed read functions over the tables. All SQL of the read side stands in `sql/`, as named statements."""
