"""Puts the questions beside this file into a Metabase, as a collection of their own.

METABASE_URL and METABASE_API_KEY say where (Admin settings, Authentication, API keys); the argument is the name of the
database there that holds Caravan's views. Nothing but Python is needed. Run again, questions of the same name are
changed, not doubled:

    METABASE_URL=https://metabase.example METABASE_API_KEY=mb_… python import.py caravan
"""

import json
import os
import re
import sys
import urllib.request
from pathlib import Path
from typing import Any

COLLECTION = "Caravan"
_SAID = re.compile(r"^-- (\w+): (.*)$", re.MULTILINE)


def question(text: str) -> dict[str, Any]:
    """A question as its file says it: name, display, description, parameters and the query."""
    said = dict(_SAID.findall(text))
    tags = {}
    if "parameter" in said:
        name, kind, default = said["parameter"].split()
        tags[name] = {
            "id": name,
            "name": name,
            "display-name": name.capitalize(),
            "type": kind,
            "default": default,
            "required": True,
        }
    query = _SAID.sub("", text).strip()
    return {
        "name": said["name"],
        "display": said["display"],
        "description": said["description"],
        "visualization_settings": {},
        "dataset_query": {"type": "native", "native": {"query": query, "template-tags": tags}},
    }


def questions(folder: Path) -> list[dict[str, Any]]:
    """Those of all files, in their order."""
    return [question(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.sql"))]


def call(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One request to Metabase's API."""
    request = urllib.request.Request(  # noqa: S310 - the address is the caller's own
        f"{os.environ['METABASE_URL'].rstrip('/')}/api/{path}",  # noqa: TID251 - a program of its own
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"x-api-key": os.environ["METABASE_API_KEY"], "Content-Type": "application/json"},  # noqa: TID251
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - somebody's own Metabase
        return json.load(answer)


def main(database: str) -> None:
    """Make the collection, then make or change each question in it."""
    databases = call("GET", "database")
    known = databases["data"] if isinstance(databases, dict) else databases
    [number] = [one["id"] for one in known if one["name"] == database] or [None]
    if number is None:
        sys.exit(f"Metabase has no database {database!r}; it has {', '.join(one['name'] for one in known)}")
    there = [
        one for one in call("GET", "collection") if one.get("name") == COLLECTION and not one.get("archived")
    ]
    collection = (there or [call("POST", "collection", {"name": COLLECTION})])[0]["id"]
    items = call("GET", f"collection/{collection}/items?models=card")
    cards = {one["name"]: one["id"] for one in items["data"]}
    for one in questions(Path(__file__).parent):
        one["dataset_query"]["database"] = number
        one["collection_id"] = collection
        if one["name"] in cards:
            call("PUT", f"card/{cards[one['name']]}", one)
        else:
            call("POST", "card", one)
        print(one["name"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
