"""The one MetaData of all tables, and texts that their constraints share."""

from sqlalchemy import (
    MetaData,
)

from worker.domain.jobs import FINAL, JobState

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def in_values(column: str, values: object) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"  # type: ignore[attr-defined]


FINAL_STATES = ", ".join(repr(str(state)) for state in JobState if state in FINAL)
