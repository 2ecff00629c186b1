"""``python -m gdexp`` is the command ``gdexp``."""

from gdexp.cli import main

if __name__ == "__main__":
    main()
