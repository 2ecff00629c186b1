"""``python -m gdexp`` is the command ``gdexp``."""

from gdexp.descent import signals


def main() -> None:
    """Run the command line; a signal ends it with its exit code from here on."""
    signals.ending()
    from gdexp import commands  # imports for a while

    commands.main()


if __name__ == "__main__":
    main()
