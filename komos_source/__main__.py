"""``python -m komos_source`` is the same as ``komos``."""

from komos_source.cli.main import main

if __name__ == "__main__":
    main()
