"""Context tokens as decimal digits, which SQL reads"""

import json
import struct
import zlib
from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

from worker.replies.contexts import pack_context, unpack_context

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_CHUNK = 1000
_READ = sa.text(
    "SELECT job_id, context FROM results WHERE context IS NOT NULL AND job_id > :after ORDER BY job_id LIMIT :chunk"
)
_WRITE = sa.text(
    "UPDATE results SET context = :context, context_length = :context_length WHERE job_id = :job_id"
).bindparams(sa.bindparam("context", type_=sa.LargeBinary()))


def upgrade() -> None:
    _rewrite(_inflated, pack_context)


def downgrade() -> None:
    _rewrite(unpack_context, _deflated)


def _rewrite(read: Callable[[bytes], list[int]], write: Callable[[list[int]], bytes | None]) -> None:
    conn, after = op.get_bind(), -1
    while rows := conn.execute(_READ, {"after": after, "chunk": _CHUNK}).all():
        values = []
        for job_id, packed in rows:
            tokens = read(bytes(packed))
            context = write(tokens)
            values.append(
                {
                    "job_id": job_id,
                    "context": context,
                    "context_length": None if context is None else len(tokens),
                }
            )
        conn.execute(_WRITE, values)
        after = rows[-1].job_id


def _inflated(packed: bytes) -> list[int]:
    """One byte says how many bytes an id takes (0 is JSON), then the ids, little-endian, deflated."""
    width, body = packed[0], zlib.decompress(packed[1:], -15)
    if width == 0:
        tokens: list[int] = json.loads(body)
        return tokens
    count = len(body) // width
    words = bytearray(count * 4)
    for place in range(width):
        words[place::4] = body[place::width]
    return list(struct.unpack(f"<{count}I", words))


def _deflated(tokens: list[int]) -> bytes:
    if max(tokens, default=0) >= 2**32:
        return b"\0" + _deflate(json.dumps(tokens).encode())
    return b"\4" + _deflate(struct.pack(f"<{len(tokens)}I", *tokens))


def _deflate(body: bytes) -> bytes:
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return deflate.compress(body) + deflate.flush()
