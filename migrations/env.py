"""How Alembic reaches the database: the connection of ``worker.storage.migrate``, or the settings' own."""

from alembic import context

from worker.storage.engine import open_database
from worker.storage.migrate import HEAD
from worker.storage.tables import with_dialect_options
from worker.storage.view_upkeep import views_away


def run(connection: object) -> None:
    context.configure(
        connection=connection,  # type: ignore[arg-type]
        target_metadata=with_dialect_options(),
        render_as_batch=True,
        compare_type=True,
        transactional_ddl=True,
    )
    # Views are away while their tables change, and are what the code says once they are at the newest revision.
    target = context.get_revision_argument()
    with context.begin_transaction(), views_away(connection, back=target in ("head", HEAD)):  # type: ignore[arg-type]
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    from worker.settings import load_settings

    database = open_database(load_settings().database)
    with database.write() as conn:
        run(conn)
    database.close()
