"""How Alembic reaches the database: the connection of ``worker.storage.migrate``, or the settings' own."""

from alembic import context

from worker.storage.engine import open_database
from worker.storage.migrate import HEAD
from worker.storage.tables import with_dialect_options
from worker.storage.views import create_views, drop_views


def run(connection: object) -> None:
    context.configure(
        connection=connection,  # type: ignore[arg-type]
        target_metadata=with_dialect_options(),
        render_as_batch=True,
        compare_type=True,
        transactional_ddl=True,
    )
    # Views are what the code says they are: dropped before their tables change, made anew at the newest revision.
    with context.begin_transaction():
        drop_views(connection)  # type: ignore[arg-type]
        context.run_migrations()
        if context.get_context().get_current_revision() == HEAD:
            create_views(connection)  # type: ignore[arg-type]


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    from worker.settings import load_settings

    database = open_database(load_settings().database)
    with database.write() as conn:
        run(conn)
    database.close()
