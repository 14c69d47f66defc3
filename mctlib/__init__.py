"""Micro-conversion tracking: a small helper package behind the notebooks."""
