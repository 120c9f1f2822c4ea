"""Hooks of mkdocs: addresses are those of pyproject.toml, files outside docs/ are linked."""

import re
import tomllib
from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """The configuration with the addresses of the site and the repository."""
    page = Path(config.config_file_path).with_name("pyproject.toml").read_text(encoding="utf-8")
    urls = tomllib.loads(page)["project"]["urls"]
    config.site_url, config.repo_url = urls["Documentation"], urls["Repository"]
    config.repo_name = config.site_name
    return config


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """The page with links to files of the repository in place of relative ones."""
    up = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(
        rf"\]\({re.escape(up)}([^.)][^)]*)\)", rf"]({config.repo_url}/blob/main/\1)", markdown
    )
