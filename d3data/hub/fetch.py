"""What there is, and getting it: list_sets() and pull()."""

from pathlib import Path

from d3data.hub import index, resolve
from d3data.hub.client import HubOptions


def list_sets(pattern: str = "*") -> list[str]:
    """The short names that `load` takes: those of d3data, and of the index that you added.

    Names that are not published yet are among them; `d3data list` says which, and what each is.

    Args:
        pattern: a glob, such as `"digits*"`.

    Raises:
        UnknownNameError: none matches.
        HubError: the index in `D3DATA_INDEX` cannot be used.
    """
    return list(index.search(pattern))


def pull(
    name: str | Path,
    *,
    extras: bool = False,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """Download a set of the Hub, verify every file, and return the folder where it is.

    Args:
        name: a short name, a repository of the Hub or a folder, as `load` takes it.
        extras: also what training does not need: recipe, report, preview and card.
        revision: a version, branch or commit, instead of `@...` in the name.
        cache_dir: the Hub's cache; by default that of HF_HUB_CACHE or HF_HOME.
        token: for the Hub; by default the one saved by `hf auth login`.
        local_files_only: do not contact the Hub, as with HF_HUB_OFFLINE=1.
        force_download: download files again that are in the cache.

    Raises:
        UnknownNameError: there is no set of this name.
        HubError: the Hub or its cache cannot provide the set.
        ArtifactError: files are missing or broken, or are not what was published under the name.
    """
    options = HubOptions(
        revision=revision,
        cache_dir=cache_dir,
        token=token,
        local_files_only=local_files_only,
        force_download=force_download,
    )
    copy = resolve.resolve(name, options, extras=extras)
    copy.check()
    return copy.folder
