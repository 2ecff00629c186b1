"""``python -m gdexp`` is the command ``gdexp``."""

from gdexp.descent import signals


def main() -> None:
    """Run the command line; a signal during the imports ends it with the right exit code."""
    signals.ending()
    from gdexp import commands  # slow to import

    commands.main()


if __name__ == "__main__":
    main()
