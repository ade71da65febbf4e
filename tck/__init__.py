"""The Dataspace Protocol TCK against a Yunhe node: `python -m tck`, described in docs/tck.md.

In: the official kit by its Maven coordinates, the table flows.txt. Out: a verdict on each of its
tests. The node's protocol code is the production code; only its decisions are scripted.
"""
