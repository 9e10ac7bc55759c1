"""The version, apart from the package, so that what reports it need not import the whole."""

__version__ = "0.1.0"
