"""The version of d3data, the one place where it is written; `.dev0` until it is tagged."""

__version__ = "0.1.0.dev0"
