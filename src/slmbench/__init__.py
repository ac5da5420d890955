"""slmbench: small language models that turn text into JSON under a schema, trained and measured on an ordinary CPU."""

__version__ = "0.1.0"
