"""``python -m worker`` and the command ``caravan``."""


def main() -> None:
    """Run the command line. Raises SystemExit."""
    from worker.cli.lean import rare_collections
    from worker.cli.signals import ending_signals
    from worker.cli.streams import standard_streams

    rare_collections()
    with ending_signals(), standard_streams():
        from worker.cli.main import app

        app(prog_name="caravan")


def process() -> None:
    """Run the command line in a process of its own, which ends with it."""
    from worker.cli.lean import leave

    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            raise
        leave(end.code)


if __name__ == "__main__":
    process()
