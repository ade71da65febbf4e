"""Yunhe beside connectors of others, as programs of their own: docs/interop.md."""
