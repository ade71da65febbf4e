"""Yunhe and Eclipse EDC, both as real processes on loopback, talking in both directions."""
