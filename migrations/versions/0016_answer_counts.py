"""Counts of answers that somebody should look at: an index for them, and what roll-ups and pruned batches have of them"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_ROLLUPS = ("batch_figures", "model_days", "host_hours", "hour_figures")
_FLAWED = "state = 'succeeded' AND (cut OR empty OR prompt_fit = 'no')"


def upgrade() -> None:
    for table in _ROLLUPS:
        for name in ("empty", "unfit"):
            op.add_column(table, _count(name, sa.Integer()))
    for name in ("cut", "empty", "unfit"):
        op.add_column("pruned_counts", _count(name, sa.BigInteger()))
    op.create_index(
        "ix_results_flawed",
        "results",
        ["batch_id", "cut", "empty", "prompt_fit"],
        sqlite_where=sa.text(_FLAWED),
        postgresql_where=sa.text(_FLAWED),
    )
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute(_COUNT_BEFORE_BY_MODEL)
    op.execute(_COUNT_BEFORE_BY_HOUR.format(hour=_SQLITE_HOUR if sqlite else _POSTGRES_HOUR))


def downgrade() -> None:
    op.drop_index("ix_results_flawed", table_name="results")
    for name in ("cut", "empty", "unfit"):
        op.drop_column("pruned_counts", name)
    for table in _ROLLUPS:
        for name in ("empty", "unfit"):
            op.drop_column(table, name)


def _count(name: str, type_: sa.types.TypeEngine[int]) -> sa.Column[int]:
    return sa.Column(name, type_, server_default=sa.text("0"), nullable=False)


# What has a number was added up before; what has none is still to come. A roll-up of before counted failures as cut too.
_FROM = """(
  SELECT {keys}, sum(CASE WHEN r.empty THEN 1 ELSE 0 END) AS empty,
         sum(CASE WHEN r.prompt_fit = 'no' THEN 1 ELSE 0 END) AS unfit
  FROM results r JOIN numbered_results n ON n.job_id = r.job_id
  WHERE r.state = 'succeeded' AND (r.cut OR r.empty OR r.prompt_fit = 'no')
  GROUP BY {group}
) AS f"""
_COUNT_BEFORE_BY_MODEL = (
    "UPDATE model_days SET empty = f.empty, unfit = f.unfit FROM "
    + _FROM.format(keys="r.day, r.model", group="r.day, r.model")
    + " WHERE f.day = model_days.day AND f.model = model_days.model"
)
_COUNT_BEFORE_BY_HOUR = (
    "UPDATE hour_figures SET empty = f.empty, unfit = f.unfit FROM "
    + _FROM.format(
        keys="r.batch_id, {hour} AS hour, r.model, r.host", group="r.batch_id, {hour}, r.model, r.host"
    )
    + " WHERE f.batch_id = hour_figures.batch_id AND f.hour = hour_figures.hour "
    "AND f.model = hour_figures.model AND f.host = hour_figures.host"
)
_SQLITE_HOUR = "substr(r.finished_at, 1, 13) || ':00:00.000000Z'"
_POSTGRES_HOUR = "date_trunc('hour', r.finished_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
