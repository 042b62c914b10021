"""The database behind the cache."""

import os
import sqlite3


def store(key: str, value: str) -> None:
    """Store a value, once or again."""
    with sqlite3.connect(os.environ["DATABASE"]) as database:
        database.execute("CREATE TABLE IF NOT EXISTS products (key TEXT PRIMARY KEY, value TEXT)")
        database.execute("INSERT OR REPLACE INTO products VALUES (?, ?)", (key, value))
