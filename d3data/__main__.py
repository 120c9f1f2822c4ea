"""`python -m d3data` is `d3data`."""

from d3data.cli import main

if __name__ == "__main__":
    main()
