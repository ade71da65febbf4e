"""Ground of the house: ids, clock, money, canonical bytes, keys, errors, events, outbox, database.

No business noun lives here. Modules are imported one by one, so that the offline verifier does
not pull in a database.
"""
