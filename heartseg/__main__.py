"""``python -m heartseg``: the command line."""

from heartseg.cli.app import main

if __name__ == "__main__":
    main()
