"""``python -m worker`` and the command ``caravan``."""


def main() -> None:
    """Run the command line."""
    from worker.cli.signals import ending_signals
    from worker.cli.streams import standard_streams

    with ending_signals(), standard_streams():
        from worker.cli.main import app

        app(prog_name="caravan")


if __name__ == "__main__":
    main()
