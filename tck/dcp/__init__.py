"""The Decentralized Claims Protocol TCK against Yunhe nodes: `python -m tck.dcp`, docs/dcp.md.

In: the official kit by its Maven coordinates. Out: a verdict on each test of its four groups. The
nodes are whole production nodes; beside them stand only the token endpoint that the kit wants of
a holder, and a register that entitles whoever asks.
"""
