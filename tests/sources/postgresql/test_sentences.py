"""Every bad query and every bad URL against its one sentence, which holds no password."""

from pathlib import Path

import pytest

from mctlib import open_log
from tests.sources.postgresql.asking import GOOD, WRITTEN, read, refusal, source
from tests.support.stores import store_of

pytestmark = pytest.mark.integration


BAD_QUERIES = {
    "no such table": (
        "SELECT * FROM evnets",
        'The query of events at WAREHOUSE_URL fails: relation "evnets" does not exist.',
    ),
    "syntax": (
        "SELEKT 1",
        'The query of events at WAREHOUSE_URL fails: syntax error at or near "SELEKT".',
    ),
    "two statements": (
        f"{GOOD}; {GOOD}",
        "The query of events at WAREHOUSE_URL fails: cannot insert multiple commands into a"
        " prepared statement.",
    ),
    "fails late": (
        f"SELECT *, 1 / (90000 - n) FROM ({GOOD}) e, generate_series(1, 90000) n",
        "The query of events at WAREHOUSE_URL fails: division by zero.",
    ),
    "fails late, about JSON": (
        f"SELECT *, (CASE WHEN n = 9 THEN '{{' END)::jsonb"
        f" FROM ({GOOD}) e, generate_series(1, 9) n",
        "The query of events at WAREHOUSE_URL fails: invalid input syntax for type json.",
    ),
    "no rows": (f"{GOOD} WHERE false", "The query of events at WAREHOUSE_URL gives no rows."),
    "no event": (
        "SELECT 'ada' AS user_id, 'x' AS evnt, now() AS timestamp",
        'The query of events at WAREHOUSE_URL has no column "event" for events. Did you mean'
        ' "evnt"?'
        ' Map it with columns: {event: "its header"}.',
    ),
    "a column twice": (
        "SELECT 1 AS n, 2 AS n",
        'The query of events at WAREHOUSE_URL has the column "n" twice. Rename or remove one of'
        " them.",
    ),
    "an address": (
        f"SELECT *, inet '10.0.0.1' AS host FROM ({GOOD}) e",
        'The query of events at WAREHOUSE_URL has the column "host" of type inet.'
        " Cast it in the query, to text or numeric.",
    ),
    "money": (
        f"SELECT *, '12.30'::money AS fee FROM ({GOOD}) e",
        'The query of events at WAREHOUSE_URL has the column "fee" of type money.'
        " Cast it in the query, to text or numeric.",
    ),
}


@pytest.mark.parametrize(("query", "sentence"), BAD_QUERIES.values(), ids=BAD_QUERIES)
def test_a_bad_query_gives_one_sentence_and_keeps_the_old_store(project, query, sentence):
    open_log(project(source(GOOD)))
    before = store_of("x").read_bytes()
    assert refusal(open_log, project(source(query))) == sentence
    assert store_of("x").read_bytes() == before
    assert (
        len(list(Path("outputs/store").iterdir())) == 4
    )  # its moments, load report, rejected rows


def test_a_mapped_column_that_the_query_lacks(project):
    assert refusal(read, GOOD, columns={"channel": "evnt"}) == (
        'The query of events at WAREHOUSE_URL has no column "evnt", mapped to channel. Did you'
        ' mean "event"?'
    )


REACHED = "WAREHOUSE_URL: the warehouse is not reached or refuses the login: "


# every one of these is repeated in part by the driver or the server; {port} is the running server's
BAD_URLS = {
    "wrong password": (
        "postgresql://analyst:Zebrafink@127.0.0.1:{port}/postgres",
        REACHED + 'password authentication failed for user "***".',
    ),
    "no password": (
        "postgresql://analyst@127.0.0.1:{port}/postgres",
        REACHED
        + 'connection to server at "***", port *** failed: fe_sendauth: no password supplied.',
    ),
    "no such database": (
        f"postgresql://analyst:{WRITTEN}@127.0.0.1:{{port}}/produkt",
        REACHED + 'database "***" does not exist.',
    ),
    "no server": (
        "postgresql://analyst:Zebrafink@127.0.0.1:1/postgres",
        REACHED + 'connection to server at "***", port 1 failed: Connection refused.',
    ),
    "a % in the password": (
        "postgresql://analyst:Zebra%zzfink@127.0.0.1/postgres",
        REACHED + 'invalid percent-encoded token: "***".',
    ),
    "an @ in the password": (
        "postgresql://analyst:Zebra@fink@127.0.0.1/postgres",
        REACHED + 'could not translate host name "***" to address: ',
    ),
    "a / in the password": (
        "postgresql://analyst:Ze/brafink@127.0.0.1/postgres",
        REACHED + 'invalid integer value "***" for connection option "port".',
    ),
    "a password as an option": (
        "postgresql://127.0.0.1:{port}/postgres?user=analyst&passwrd=Zebrafink",
        REACHED + 'invalid URI query parameter: "***".',
    ),
    "SQLAlchemy's scheme": (
        "postgresql+psycopg2://analyst:Zebrafink@127.0.0.1/postgres",
        'WAREHOUSE_URL: the scheme "postgresql+psycopg2" is not known.'
        ' Did you mean "postgresql"? Known are: postgresql://, postgres://, snowflake://,'
        " bigquery://.",
    ),
    "another database": (
        "mysql://analyst:Zebrafink@127.0.0.1/postgres",
        'WAREHOUSE_URL: the scheme "mysql" is not known.',
    ),
    "no URL": (
        "Zebrafink",
        "WAREHOUSE_URL: it holds no URL. Known are: postgresql://, postgres://, snowflake://,"
        " bigquery://.",
    ),
    "no URL, or half of one": ("analyst:Zebrafink@127.0.0.1://", "WAREHOUSE_URL: it holds no URL."),
}


@pytest.mark.parametrize(("url", "sentence"), BAD_URLS.values(), ids=BAD_URLS)
def test_a_bad_url_gives_one_sentence_without_the_password(
    project, server, monkeypatch, url, sentence
):
    monkeypatch.setenv("WAREHOUSE_URL", url.replace("{port}", str(server.port)))
    said = refusal(open_log, project(source(GOOD)))
    assert said.startswith(sentence) and "\n" not in said
    assert not any(piece in said for piece in ("Zebra", "fink", '"Ze"', "Kanarien", "gelb"))
