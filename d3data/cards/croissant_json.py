"""A set in the words of Croissant 1.1 (MLCommons), which search engines for data sets read.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

import hashlib
import json
from typing import Any

from d3data.artifact.manifest import NAME
from d3data.cards.facts import HUB, Facts
from d3data.data.preview import TABLE
from d3data.hub import names
from d3data.utils import templates

VERSION = "http://mlcommons.org/croissant/1.1"
CONTEXT = json.loads(templates.read("cards/croissant_context.json"))
BYTES = "application/octet-stream"
ENCODINGS = {
    "json": "application/json",
    "md": "text/markdown",
    "parquet": "application/x-parquet",
    "png": "image/png",
    "toml": "application/toml",
}


def croissant(facts: Facts) -> str:
    """The `croissant.json` of a set, with the sha256 of each file that its manifest lists."""
    about, license = facts.manifest.about, facts.license
    made, origin, creator = about.provenance, facts.origin, {"name": "d3data"}
    if facts.repo is not None:
        owner = facts.repo.partition("/")[0]
        creator = {"name": owner, "url": f"{facts.hub}/{owner}"}
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": facts.name,
        "description": f"{facts.summary} Every image is synthetic.",
        "url": facts.address,
        "license": [*dict.fromkeys(filter(None, (license.link, made.license)))],
        "creator": {"@type": "Organization"} | creator,
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


def _files(facts: Facts) -> list[dict[str, str]]:
    page = facts.manifest.encode()
    own = NAME, len(page), hashlib.sha256(page).hexdigest()
    parts, others = facts.manifest.content.parts, facts.manifest.files
    entries = [
        own,
        *((part.path, part.size, part.sha256) for part in parts),
        *((file.path, file.size, file.sha256) for file in others),
    ]
    tag, address = names.tag(facts.manifest.about.version), facts.address
    return [
        {
            "@type": "cr:FileObject",
            "@id": path,
            "name": path,
            "contentUrl": _location(address, tag, path) if address else path,
            "contentSize": f"{size} B",
            "encodingFormat": ENCODINGS.get(path.rpartition(".")[2], BYTES),
            "sha256": digest,
        }
        for path, size, digest in entries
    ]


def _records(facts: Facts) -> list[dict[str, Any]]:
    """The rows of the preview, where the set has one."""
    if TABLE not in {entry.path for entry in facts.manifest.files}:
        return []
    columns = {
        "image": "a draw",
        "label": "the class id, counted from 0",
        "item": "the item that the draw is made from",
        "draw": "the index of the draw in epoch 0",
    }
    fields: list[dict[str, Any]] = [
        {
            "@type": "cr:Field",
            "@id": f"preview/{name}",
            "name": f"preview/{name}",
            "description": words,
            "dataType": "sc:Integer",
            "source": {"fileObject": {"@id": TABLE}, "extract": {"column": name}},
        }
        for name, words in columns.items()
    ]
    fields[0]["dataType"] = "sc:ImageObject"
    fields[0]["source"]["transform"] = {"jsonPath": "bytes"}
    about = "The first draws of epoch 0, decoded: a preview"
    record = {"@id": "preview", "name": "preview", "description": about, "field": fields}
    return [{"@type": "cr:RecordSet"} | record]
