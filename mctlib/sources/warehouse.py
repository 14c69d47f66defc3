"""Tables by query: what a warehouse answers, streamed batch by batch into the staging database.

A data YAML names an environment variable. The URL in it, and with it every credential, is in no
file, message, store or report:

    postgresql://user:password@host:5432/database
    snowflake://user:password@account/database/schema?warehouse=NAME
    bigquery://project/dataset?location=EU
        (with Google's own credentials, see GOOGLE_APPLICATION_CREDENTIALS)

PostgreSQL is tested against a real server. Snowflake and BigQuery differ by driver and URL only;
they are documented, not tested.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import duckdb

from mctlib.contract import DataError, nearest
from mctlib.sources.files import File


def _bigquery(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    given = {"project_id": parts.netloc, "dataset_id": parts.path.strip("/")}
    given |= dict(parse_qsl(parts.query))
    options = {f"adbc.bigquery.sql.{key}": value for key, value in given.items() if value}
    # it knows no transactions
    return {"db_kwargs": options, "autocommit": True}


# Scheme of the URL -> the ADBC driver, and what its `connect` takes for a URL.
DRIVERS: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "postgresql": ("adbc_driver_postgresql", lambda url: {"uri": url}),
    "postgres": ("adbc_driver_postgresql", lambda url: {"uri": url}),
    "snowflake": ("adbc_driver_snowflake", lambda url: {"uri": url.removeprefix("snowflake://")}),
    "bigquery": ("adbc_driver_bigquery", _bigquery),
}


def url_of(connection: str) -> str:
    """The URL in the environment variable `connection`.

    Raises DataError: it is not set, or holds no URL of a known scheme.
    """
    url = os.environ.get(connection, "").strip()
    if not url:
        near = nearest(connection, [name for name, value in os.environ.items() if "://" in value])
        raise DataError(
            f'The environment variable "{connection}" is not set;'
            f" a query needs the warehouse's URL in it.{near}"
        )
    scheme, found, _ = url.partition("://")
    if scheme not in DRIVERS:
        what = "it holds no URL."
        # anything that is no scheme may be a piece of a password
        if found and re.fullmatch(r"[\w+.-]+", scheme):
            what = f'the scheme "{scheme}" is not known.{nearest(scheme, DRIVERS)}'
        known = ", ".join(f"{name}://" for name in DRIVERS)
        raise DataError(f"{connection}: {what} Known are: {known}.")
    return url


def place_of(connection: str) -> str:
    """Server and database of the URL in `connection`, without user, password and options."""
    return url_of(connection).partition("?")[0].partition("://")[2].rpartition("@")[2]


@contextmanager
def answer(
    con: duckdb.DuckDBPyConnection, query: str, connection: str, table: str
) -> Iterator[list[File]]:
    """What a query answers, as one `File` that `con` can scan once while the context is open.

    It comes batch by batch, never whole. Raises DataError: no driver, no connection, an error of
    the server (also a late one), a column whose type cannot be read.
    """
    import pyarrow

    url = url_of(connection)
    shown = f"The query of {table} at {connection}"
    late: list[Exception] = []
    with ExitStack() as opened:
        reader = _asked(opened, url, query, connection, shown)
        for field in reader.schema:
            _refuse_bytes(field, shown)

        def batches() -> Iterator[pyarrow.RecordBatch]:
            try:
                yield from reader
            except Exception as error:
                late.append(error)
                raise

        con.register(shown, pyarrow.RecordBatchReader.from_batches(reader.schema, batches()))
        try:
            yield [File(Path(shown), shown, "arrow", tuple(reader.schema.names))]
        except Exception:
            # what the server said, not what DuckDB makes of it
            if late:
                raise DataError(f"{shown} fails: {without_secrets(late[0], url)}.") from None
            raise
        finally:
            con.unregister(shown)


def _asked(opened: ExitStack, url: str, query: str, connection: str, shown: str) -> Any:
    """The reader of a query's batches, open as long as `opened` is.

    Each driver has its own errors, and their texts may hold the URL: none goes out as it is.
    """
    package, arguments = DRIVERS[url.partition("://")[0]]
    try:
        dbapi = import_module(f"{package}.dbapi")
    except ImportError:
        pip = f"python -m pip install {package.replace('_', '-')}"
        raise DataError(
            f"{shown} needs a driver that is not installed. Install it with: {pip}"
        ) from None
    try:
        connected = opened.enter_context(dbapi.connect(**arguments(url)))
    except Exception as error:
        said = without_secrets(error, url, url.partition("://")[2])
        raise DataError(
            f"{connection}: the warehouse is not reached or refuses the login: {said}."
        ) from None
    try:
        cursor = opened.enter_context(connected.cursor())
        # the driver puts the query in brackets, which a last comment would swallow
        cursor.execute(query.rstrip("; \n") + "\n")
        reader = cursor.fetch_record_batch()
    except Exception as error:
        raise DataError(f"{shown} fails: {without_secrets(error, url)}.") from None
    if not reader.schema.names:
        raise DataError(f"{shown} gives no columns. Write a SELECT.")
    return reader


def _refuse_bytes(field: Any, shown: str) -> None:
    kind = (field.metadata or {}).get(b"POSTGRESQL:type", b"").decode() or str(field.type)
    # of money the driver gives the cents
    if "binary" in str(field.type) or kind == "money":
        way = "Cast it in the query, to text or numeric."
        raise DataError(f'{shown} has the column "{field.name}" of type {kind}. {way}')


def without_secrets(error: Exception, url: str, known: str = "") -> str:
    """The first line of a driver's error, without the secrets of `url` and any word of `known`.

    The latter because a driver that misreads a URL repeats the misread piece, which may be half a
    password.
    """
    line = str(error).strip().split("\n")[0]
    line = re.sub(r".*\b(ERROR|FATAL|Failed to connect): *", "", line).rstrip(". ")
    secrets = [url, url.partition("://")[2].rpartition("@")[0].partition(":")[2]]
    for key, value in parse_qsl(url.partition("?")[2]):
        if re.search("pass|pwd|secret|token|key|credential", key, re.IGNORECASE):
            secrets.append(value)
    for secret in secrets:
        for form in filter(None, (secret, unquote(secret))):
            line = line.replace(form, "***")
    known = f"{known} {unquote(known)}" if known else ""
    words = r'(?<=")[^"]+(?=")|[^\s",;:=()]{4,}'
    return re.sub(words, lambda word: "***" if word[0] in known else word[0], line)
