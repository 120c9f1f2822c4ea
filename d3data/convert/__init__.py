"""Other people's distilled sets as artifacts. `docs/converting.md` says how, and what is known."""

from d3data.convert.d3_checkpoint import d3_official
from d3data.convert.stored_images import images

__all__ = ["d3_official", "images"]
