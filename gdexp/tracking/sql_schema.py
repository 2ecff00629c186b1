"""The schema of a database: empty, one that gdexp can write, or another one."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import re
from pathlib import Path
from typing import Literal, TypeAlias

from gdexp.tracking.database import Connection, Row, Sqlite

TABLES = (
    *("experiments", "runs", "tags", "params", "metrics", "latest_metrics"),
    *("datasets", "inputs", "input_tags"),
)
# Fingerprints of the nine tables whose rows a test compares with those of MLflow's client.
KNOWN = {
    "sqlite": {"12632641c42b89a5"},
    "postgresql": {"9501eee0c63dd308"},
}
_CHECK = re.compile(r"CHECK \((?:[^()]|\([^()]*\))*\)")

Schema: TypeAlias = Literal["empty", "known", "unknown", "newer"]


def schema_of(connection: Connection, dialect: str) -> Schema:
    """Classify the tables of a database.

    Returns:
        "empty": it has no MLflow tables; "known": gdexp can write them; "unknown": only MLflow's
        client can; "newer": a newer MLflow made them, so the installed one must not touch them.
    """
    versions = heads(connection, dialect)
    if versions is None:
        return "empty"
    if not versions <= revisions():
        return "newer"
    return "known" if fingerprint(connection, dialect) in KNOWN[dialect] else "unknown"


def heads(connection: Connection, dialect: str) -> set[str] | None:
    """The schema revisions of a database; None if it has no tables of MLflow's."""
    if dialect == "sqlite":
        present = connection.query("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")
    else:
        present = connection.query("SELECT 1 WHERE to_regclass('alembic_version') IS NOT NULL")
    if not present:
        return None
    return {str(head) for (head,) in connection.query("SELECT version_num FROM alembic_version")}


def fingerprint(connection: Connection, dialect: str) -> str:
    """A digest of the nine tables' columns, checks and triggers, independent of their order."""
    names = ", ".join(f"'{name}'" for name in TABLES)
    facts = _sqlite_facts if dialect == "sqlite" else _postgresql_facts
    lines = sorted(" ".join(map(str, row)) for row in facts(connection, names))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _sqlite_facts(connection: Connection, names: str) -> list[Row]:
    texts = connection.query(
        f"SELECT type, tbl_name, sql FROM sqlite_master WHERE tbl_name IN ({names})"
    )
    facts = [text for text in texts if text[0] == "trigger"]
    for kind, table, sql in texts:
        for check in _CHECK.findall(sql or "") if kind == "table" else ():
            facts.append((table, *sorted(re.findall(r"\w+", check))))
    return facts + connection.query(
        'SELECT m.name, c.name, c.type, c."notnull", c.pk > 0 FROM sqlite_master m, '
        f"pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name IN ({names})"
    )


def _postgresql_facts(connection: Connection, names: str) -> list[Row]:
    # Checks are read from pg_constraint, as information_schema adds NOT NULL, named by OID.
    return connection.query(
        "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable "
        "FROM information_schema.columns WHERE table_schema = current_schema() "
        f"AND table_name IN ({names}) UNION ALL "
        "SELECT relname, pg_get_constraintdef(c.oid), '', 0, '' "
        "FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid "
        "WHERE contype = 'c' AND relnamespace = current_schema()::regnamespace "
        f"AND relname IN ({names}) UNION ALL "
        "SELECT event_object_table, trigger_name, '', 0, '' FROM information_schema.triggers "
        f"WHERE trigger_schema = current_schema() AND event_object_table IN ({names})"
    )


@functools.cache
def revisions() -> frozenset[str]:
    """Every schema revision that the installed MLflow knows, read without importing MLflow."""
    return frozenset(path.name.partition("_")[0] for path in _migrations().glob("[!_]*_*.py"))


@functools.cache
def newest_revision() -> str | None:
    """The revision to which the installed MLflow migrates, read without importing MLflow."""
    former: set[str] = set()
    for path in _migrations().glob("[!_]*_*.py"):
        below = re.search(r"^down_revision\b[^=]*=(.*)$", path.read_text(), re.MULTILINE)
        former.update(re.findall(r"\w+", below[1]) if below else ())
    newest = revisions() - former
    return next(iter(newest)) if len(newest) == 1 else None


def _migrations() -> Path:
    spec = importlib.util.find_spec("mlflow")
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0] if places else ".", "store", "db_migrations", "versions")


def is_store(path: Path) -> bool:
    """Whether a SQLite file has MLflow's tables."""
    with Sqlite(path).reading() as connection:
        return schema_of(connection, "sqlite") != "empty"


def is_sound(path: Path) -> bool:
    """Whether a SQLite file passes ``PRAGMA quick_check``."""
    with Sqlite(path).reading() as connection:
        return bool(connection.query("PRAGMA quick_check") == [("ok",)])
