"""A hook of mkdocs: what lies outside docs/ is linked where the repository is."""

import re
from typing import Any


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """The page with links to files of the repository in place of relative ones."""
    up = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(
        rf"\]\({re.escape(up)}([^.)][^)]*)\)", rf"]({config.repo_url}/blob/main/\1)", markdown
    )
