"""Other people's distilled sets as artifacts, and their generators as ours.

`docs/converting.md` says how, and what is known.
"""

from d3data.convert.d3_checkpoint import d3_official
from d3data.convert.stored_images import images
from d3data.convert.stylegan_weights import stylegan

__all__ = ["d3_official", "images", "stylegan"]
