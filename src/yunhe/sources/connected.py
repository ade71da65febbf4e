"""From a locator with a connection to the source behind it: the one table of kinds.

In: a locator and the node's connections. Out: a `Staged` or `Live` source; raises
ConnectionUnknown, and LocatorNotValid for a kind that does not stand here.
"""

from __future__ import annotations

from yunhe.sources.connections import Connections
from yunhe.sources.database import Database
from yunhe.sources.database_mysql import MysqlTable
from yunhe.sources.database_postgresql import PostgresTable
from yunhe.sources.database_spark import SparkTable
from yunhe.sources.database_sqlite import SqliteTable
from yunhe.sources.errors import LocatorNotValid
from yunhe.sources.http_json import HttpJsonSource
from yunhe.sources.locator import Locator
from yunhe.sources.port import Staged
from yunhe.sources.s3 import S3Source


def open_staged(locator: Locator, connections: Connections) -> Staged:
    """What is copied to be read: objects and HTTP answers."""
    connection = connections.get(locator.connection, locator.kind)
    if locator.kind == "s3":
        return S3Source(locator, connection)
    if locator.kind == "http-json":
        return HttpJsonSource(locator, connection)
    raise _absent(locator)


def open_live(locator: Locator, connections: Connections) -> Database:
    """What is asked where it is: databases."""
    connection = connections.get(locator.connection, locator.kind)
    if locator.kind == "postgresql":
        return PostgresTable(connection, locator)
    if locator.kind == "mysql":
        return MysqlTable(connection, locator)
    if locator.kind == "sqlite":
        return SqliteTable(connection, locator)
    if locator.kind == "spark":
        return SparkTable(connection, locator)
    raise _absent(locator)


def _absent(locator: Locator) -> LocatorNotValid:
    why, why_zh = "this kind is not read by this node", "本节点不读取该类型"
    return LocatorNotValid(locator=str(locator)[:200], why=why, why_zh=why_zh)
