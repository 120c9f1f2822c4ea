"""A set in the words of Croissant 1.1 (MLCommons), which search engines for data sets read.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

import hashlib
import json
from typing import Any

from d3data.artifact.manifest import NAME, FileEntry, PartEntry
from d3data.cards.facts import HUB, Facts
from d3data.data.preview import TABLE
from d3data.hub import names

VERSION = "http://mlcommons.org/croissant/1.1"
OWN = (  # names that Croissant adds to schema.org's and uses as they are
    "arrayShape citeAs column containedIn equivalentProperty extract field fileObject "
    "fileProperty fileSet format includes isArray isLiveDataset jsonPath key md5 parentField "
    "path recordSet references regex repeated replace samplingRate separator source subField "
    "transform"
)
CONTEXT: dict[str, Any] = dict(
    sorted(
        {
            "@language": "en",
            "@vocab": "https://schema.org/",
            "conformsTo": "dct:conformsTo",
            "cr": "http://mlcommons.org/croissant/",
            "data": {"@id": "cr:data", "@type": "@json"},
            "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
            "dct": "http://purl.org/dc/terms/",
            "description": {"@container": "@language"},
            "examples": {"@id": "cr:examples", "@type": "@json"},
            "name": {"@container": "@language"},
            "rai": "http://mlcommons.org/croissant/RAI/",
            "sc": "https://schema.org/",
            **{name: f"cr:{name}" for name in OWN.split()},
        }.items()
    )
)
ENCODINGS = {
    "json": "application/json",
    "md": "text/markdown",
    "parquet": "application/x-parquet",
    "png": "image/png",
    "safetensors": "application/octet-stream",
    "toml": "application/toml",
}


def croissant(facts: Facts) -> str:
    """The `croissant.json` of a set, with the sha256 of each file that its manifest lists."""
    about, license = facts.manifest.about, facts.license
    made, origin = about.provenance, facts.origin
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": facts.name,
        "description": f"{facts.summary} Every image is synthetic.",
        "url": facts.address,
        "license": [*dict.fromkeys(filter(None, (license.link, made.license)))],
        "creator": _creator(facts),
        "datePublished": made.date,
        "version": about.version,
        "citeAs": facts.citation,
        "keywords": facts.tags,
        "isBasedOn": [f"{HUB}/datasets/{origin}"] if origin else None,
        "distribution": _files(facts),
        "recordSet": _records(facts),
    }
    return _written({key: value for key, value in document.items() if value})


def moved(document: str, revision: str) -> str:
    """The Croissant of a published set, whose files are those of a `revision`, such as `main`.

    `croissant` names the files of the version's tag, which never move; a branch may have others.
    """
    page = json.loads(document)
    for entry in page["distribution"]:
        entry["contentUrl"] = _location(page["url"], revision, entry["@id"])
    return _written(page)


def _written(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _location(address: str, revision: str, path: str) -> str:
    return f"{address}/resolve/{revision}/{path}"


def _creator(facts: Facts) -> dict[str, str]:
    """Who publishes it; else what made it."""
    if facts.repo is None:
        return {"@type": "Organization", "name": "d3data"}
    owner = facts.repo.partition("/")[0]
    return {"@type": "Organization", "name": owner, "url": f"{facts.hub}/{owner}"}


def _files(facts: Facts) -> list[dict[str, str]]:
    page = facts.manifest.encode()
    own = NAME, len(page), hashlib.sha256(page).hexdigest()
    listed: list[PartEntry | FileEntry] = [*facts.manifest.content.parts, *facts.manifest.files]
    entries = [own, *((entry.path, entry.size, entry.sha256) for entry in listed)]
    tag, address = names.tag(facts.manifest.about.version), facts.address
    return [
        {
            "@type": "cr:FileObject",
            "@id": path,
            "name": path,
            "contentUrl": _location(address, tag, path) if address else path,
            "contentSize": f"{size} B",
            "encodingFormat": ENCODINGS.get(path.rpartition(".")[2], "application/octet-stream"),
            "sha256": digest,
        }
        for path, size, digest in entries
    ]


def _records(facts: Facts) -> list[dict[str, Any]]:
    """The rows of the preview, where the set has one."""
    if TABLE not in {entry.path for entry in facts.manifest.files}:
        return []
    kinds = {
        "image": ("sc:ImageObject", "a draw"),
        "label": ("sc:Integer", "the class id, counted from 0"),
        "item": ("sc:Integer", "the item that the draw is made from"),
        "draw": ("sc:Integer", "the index of the draw in epoch 0"),
    }
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"preview/{name}",
            "name": f"preview/{name}",
            "description": words,
            "dataType": kind,
            "source": {"fileObject": {"@id": TABLE}, "extract": {"column": name}}
            | ({"transform": {"jsonPath": "bytes"}} if name == "image" else {}),
        }
        for name, (kind, words) in kinds.items()
    ]
    return [
        {
            "@type": "cr:RecordSet",
            "@id": "preview",
            "name": "preview",
            "description": "The first draws of epoch 0, decoded: a preview",
            "field": fields,
        }
    ]
