"""`python -m bumpfit` is the command line."""

from bumpfit.cli import main

if __name__ == "__main__":
    main()
