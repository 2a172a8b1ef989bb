"""Protocols as pure functions: bytes and JSON in, values out, no I/O."""
