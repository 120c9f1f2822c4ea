"""Artifacts: the folder that a distilled set is stored and shipped in."""

from d3data.artifact.artifact import Artifact, check_golden, extend, merge, read, write

__all__ = ["Artifact", "check_golden", "extend", "merge", "read", "write"]
