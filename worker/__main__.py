"""``python -m worker`` and the command ``caravan``."""


def main() -> None:
    """Run the command line."""
    from worker.cli.lean import no_last_collection, rare_collections
    from worker.cli.signals import ending_signals
    from worker.cli.streams import standard_streams

    rare_collections()
    with ending_signals(), standard_streams():
        from worker.cli.main import app

        try:
            app(prog_name="caravan")
        finally:
            no_last_collection()


if __name__ == "__main__":
    main()
