"""`python -m faceflax`: the command, where the `faceflax` script is not on the path."""

from faceflax.cli import main

if __name__ == "__main__":
    main()
