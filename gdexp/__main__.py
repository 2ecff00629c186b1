"""``python -m gdexp`` is the command ``gdexp``."""

from gdexp.commands import main

if __name__ == "__main__":
    main()
