"""Servers whose runs' networks are taken home."""

from tests.server.conftest import serve, service  # noqa: F401
