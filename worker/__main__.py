"""``python -m worker`` and the command ``caravan``."""


def main() -> None:
    """Run the command line."""
    from worker.cli.main import app

    app()


if __name__ == "__main__":
    main()
