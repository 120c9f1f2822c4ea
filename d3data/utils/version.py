"""The version of d3data."""

__version__ = "0.1.0"
