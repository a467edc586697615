"""``python -m worker`` and the command ``caravan``."""


def main() -> None:
    """Run the command line."""
    from worker.cli.main import app  # noqa: PLC0415 - so that importing this module costs nothing

    app()


if __name__ == "__main__":
    main()
