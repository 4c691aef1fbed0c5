"""`python -m repdiag` is `repdiag`."""

from repdiag.cli import main

if __name__ == "__main__":
    main()
