"""The index over ``searchable.tokens``: each database's own, kept by the database itself.

On SQLite FTS5 without places (detail=none) whose content is the table, so a row that goes takes its entries with it; on
PostgreSQL GIN over the tokens as they are written, none of its parsers and dictionaries.
"""

from collections.abc import Mapping

OURS = "search_index"
"""What the names of all that belongs to the index begin with."""

VECTOR = "array_to_tsvector(string_to_array(tokens, ' '))"
"""PostgreSQL: the expression that the index is over."""

_GONE = "INSERT INTO search_index (search_index, rowid, tokens) VALUES ('delete', old.job_id, old.tokens); "
_NEW = "INSERT INTO search_index (rowid, tokens) VALUES (new.job_id, new.tokens); "

_TABLE = "CREATE VIRTUAL TABLE search_index USING fts5(tokens, content='searchable', content_rowid='job_id', "
_TABLE += "tokenize='ascii', detail=none, columnsize=0)"

MAKE_INDEX: Mapping[str, tuple[str, ...]] = {
    "sqlite": (
        _TABLE,
        f"CREATE TRIGGER searchable_new AFTER INSERT ON searchable BEGIN {_NEW}END",
        f"CREATE TRIGGER searchable_gone AFTER DELETE ON searchable BEGIN {_GONE}END",
        f"CREATE TRIGGER searchable_changed AFTER UPDATE ON searchable BEGIN {_GONE}{_NEW}END",
    ),
    "postgresql": (f"CREATE INDEX search_index ON searchable USING gin ({VECTOR})",),
}
