"""These tests have processes of their own: no process that has a pretended device may fork."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
collect_ignore = ["pretended.py"]
