"""Over a real cluster every table is, cell by cell, the one that DuckDB gives.

The cluster is a master and two workers, processes of their own.
"""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mctlib
from mctlib.contract import DataError, ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Journeys
from mctlib.eventlog.steps import ANY, Step
from tests.support.answers import SMALL, answers, assert_same, stored, write_clean_demo
from tests.support.filters import PASSES, PEOPLE, SAID, events

JAVA = shutil.which("java") or os.environ.get("JAVA_HOME")
LACKING = 'pyspark: pip install "mctlib[spark]"'
if not JAVA:
    LACKING = "Java 17 or later (no java on the PATH, no JAVA_HOME)"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not JAVA or not importlib.util.find_spec("pyspark"), reason=f"a cluster needs {LACKING}"
    ),
]


QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # short lives


class Cluster:
    """A standalone master and two workers of one core each on the loopback address.

    `spark` is a session on them.
    """

    def __init__(self, folder: Path) -> None:
        import pyspark
        from pyspark.sql import SparkSession

        root = str(Path(mctlib.__file__).parents[1])
        home = str(Path(pyspark.__file__).parent)
        os.environ |= {
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONPATH": root,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_HOME": home,
            "SPARK_DAEMON_JAVA_OPTS": QUICK,
            "SPARK_SUBMIT_OPTS": QUICK,
        }
        self.folder, self.log = folder, (folder / "log.txt").open("w")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.master = self._start(
            "master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"
        )
        _wait(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "the master listens")
        url = f"spark://127.0.0.1:{port}"
        self.workers = [
            self._start(
                "worker.Worker",
                "--host",
                "127.0.0.1",
                "--cores",
                "1",
                "--memory",
                "1g",
                "--webui-port",
                "0",
                "--work-dir",
                str(folder / f"work{i}"),
                url,
            )
            for i in range(2)
        ]
        self.spark = (
            SparkSession.builder.master(url)
            .appName("mctlib")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.ui.enabled", False)
            .config("spark.executor.memory", "700m")
            .config("spark.driver.memory", "700m")
            .config("spark.sql.shuffle.partitions", 4)
            .config("spark.log.level", "ERROR")
            .config("spark.ui.showConsoleProgress", False)
            .config("spark.local.dir", str(folder))
            .config("spark.sql.warehouse.dir", str(folder))
            .config("spark.executor.extraJavaOptions", QUICK)
            .config("spark.sql.codegen.wholeStage", False)
            .config("spark.sql.session.timeZone", "Asia/Kathmandu")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .getOrCreate()
        )

    def _start(self, what: str, *arguments: str) -> subprocess.Popen:
        command = [
            f"{os.environ['SPARK_HOME']}/bin/spark-class",
            f"org.apache.spark.deploy.{what}",
            *arguments,
        ]
        return subprocess.Popen(
            command, stdout=self.log, stderr=self.log, start_new_session=True
        )  # its executors join its process group

    def kill(self, worker: subprocess.Popen) -> None:
        """kill -9: the worker and its executors, at once."""
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def stop(self) -> None:
        self.spark.stop()
        for process in (*self.workers, self.master):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
        self.log.close()


def _wait(until, what, seconds=60):
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    before = dict(os.environ)
    cluster = Cluster(tmp_path_factory.mktemp("spark"))
    yield cluster
    cluster.stop()
    os.environ.clear()
    os.environ |= before


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clean_demo(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def log(cluster, folder):
    from mctlib.eventlog.spark import SparkLog

    frames = {
        t: cluster.spark.read.parquet(str(folder / f"{t}.parquet"))
        for t in ("people", "surveys", "backend", "spend")
    }
    return SparkLog(
        cluster.spark.read.parquet(str(folder / "events")),
        **frames,
        timeline=pd.read_parquet(folder / "timeline.parquet"),
        name="frame",
    )


@pytest.fixture(scope="module")
def duck(folder):
    return stored(folder)


def where_am_i(j: Journeys) -> pd.DataFrame:
    return pd.DataFrame({"session": [os.getsid(0)], "n_rows": [len(j)]})


def test_the_work_is_done_by_both_workers_and_not_here(cluster, log, duck):
    found = log.reduce(where_am_i, events=[ANY])
    assert set(found["session"]) == {worker.pid for worker in cluster.workers}
    assert found["n_rows"].sum() == duck.counts()["n_events"].sum()


def test_every_analysis_gives_the_tables_of_duckdb(log, duck):
    expected = answers(duck)
    for name, table in answers(log).items():
        assert_same(table, expected[name], name)


def small_frames(spark, time_type):
    rows = [
        ("ann", "join", "2026-01-01 10:00:00"),
        ("ann", "leave", "2026-01-02 10:00:00"),
        ("", "join", "2026-01-01 10:00:00"),
        ("bob", "join", "2026-01-05 10:00:00"),
    ]
    events = spark.createDataFrame(
        rows * 5, "`Nutzer, Nr.` string, event string, at string"
    ).selectExpr(
        "`Nutzer, Nr.`",
        "event",
        {
            "timestamp": "cast(concat(at, 'Z') as timestamp) as timestamp",
            "timestamp_ntz": "cast(at as timestamp_ntz) as timestamp",
        }[time_type],
    )
    return events, spark.createDataFrame(
        [("ann", "pro", None), ("bob", "pro", "Nein"), ("bob", "pro", "yes")],
        "user_id string, plan string, consent string",
    )


@pytest.mark.parametrize("time_type", ["timestamp", "timestamp_ntz"])
def test_columns_consent_and_times_whatever_the_zone_of_the_session(cluster, time_type):
    """Counted by hand; the session's zone is Kathmandu's, and times without a zone are UTC."""
    from mctlib.eventlog.spark import SparkLog

    events, people = small_frames(cluster.spark, time_type)
    log = SparkLog(events, columns={"user_id": "Nutzer, Nr."}, people=people, groups=2)
    assert log.load["tables"]["events"] == {
        "n_read": 20,
        "n_kept": 10,
        "n_rejected": {"no consent": 5, "no user": 5},
        "n_identical": 8,  # of the 10 rows of ann, each of two five times
        "n_unread": 0,
    }
    assert (log.load["n_users"], log.event_names) == (1, ["join", "leave"])
    assert (log.first_event, log.last_event) == (
        pd.Timestamp("2026-01-01T10:00Z"),
        pd.Timestamp("2026-01-02T10:00Z"),
    )
    walked = log.reduce(
        lambda j: pd.DataFrame({"time": j.time, "plan": j.segment(np.arange(len(j))), "n_rows": 1}),
        events=[ANY],
        by="plan",
    )
    assert walked.to_dict("list") == {
        "time": [t.value // 1000 for t in (log.first_event, log.last_event)],
        "plan": ["pro", "pro"],
        "n_rows": [5, 5],
    }
    assert log.table("people")["plan"].tolist() == ["pro"]


def test_nobody_without_consent_is_in_a_table_and_addresses_are_masked(cluster):
    from mctlib.eventlog.spark import SparkLog

    events, people = small_frames(cluster.spark, "timestamp")
    answers = pd.DataFrame(
        {"user_id": ["ann", "bob"], "submitted_at": "2026-01-02", "answer": "yes"}
    ).assign(micro_conversion="join")
    backend = cluster.spark.sql(
        "SELECT user_id, 'join' event, timestamp '2026-01-01' timestamp"
        " FROM VALUES ('ann'), ('bob') t(user_id)"
    )
    mails = events.replace({"join": "mail ann@example.org", "leave": "mail bob@example.org"})
    log = SparkLog(
        mails, columns={"user_id": "Nutzer, Nr."}, people=people, surveys=answers, backend=backend
    )
    assert [len(log.table(name)) for name in ("surveys", "backend", "people")] == [1, 1, 1]
    assert log.event_names == ["mail [e-mail removed]"]
    assert log.describe()[["n_events", "n_users"]].values.tolist() == [[10, 1]]
    assert log.counts()["n_events"].tolist() == [10]


@pytest.mark.parametrize("time_type", ["timestamp", "timestamp_ntz"])
def test_events_known_by_day_are_found(cluster, time_type):
    from pyspark.sql import functions as f

    from mctlib.eventlog.spark import SparkLog

    events, _ = small_frames(cluster.spark, time_type)
    columns = {"user_id": "Nutzer, Nr."}
    assert SparkLog(events, columns=columns).day_resolution == {}
    days = events.withColumn("timestamp", f.expr("timestamp - interval 10 hours"))
    known = {"join": ["UTC"], "leave": ["UTC"]}
    assert SparkLog(days, columns=columns).day_resolution == known


def test_a_question_without_rows_has_an_empty_answer_and_a_wrong_word_is_refused_here(log):
    assert log.reduce(lambda j: pd.DataFrame({"n_rows": [len(j)]}), events=["nothing like it"])[
        "n_rows"
    ].tolist() == [0]
    with pytest.raises(ParameterError, match='"plattform" is neither .* Did you mean "platform"'):
        log.counts(by="plattform")
    with pytest.raises(ParameterError, match="as_of: 2025-01-01 lies before the first event"):
        log.reduce(where_am_i, events=[ANY], as_of="2025-01-01")
    with pytest.raises(NotImplementedError, match="give a kernel to reduce"):
        log.journeys(events=[ANY])


def test_frames_that_cannot_be_read(cluster):
    from mctlib.eventlog.spark import SparkLog

    rows = cluster.spark.createDataFrame(
        [("ann", "join", "2026-01-01")], "user_id string, event string, timestamp string"
    )
    no_time = '"timestamp" holds string, not timestamps; convert it with to_timestamp'
    with pytest.raises(DataError, match=f"events frame: {no_time}"):
        SparkLog(rows)
    with pytest.raises(DataError, match='events frame: column "event" is missing'):
        SparkLog(rows.drop("event"))


def test_the_small_tables_come_as_they_are_with_users_as_integers(log, duck):
    for name in (*SMALL, "responses"):
        ours, theirs = (
            side.table(name).drop(columns=["user", "account_id"], errors="ignore")
            for side in (log, duck)
        )
        order = list(theirs.columns)
        pd.testing.assert_frame_equal(
            ours.sort_values(order, ignore_index=True),
            theirs.sort_values(order, ignore_index=True),
            check_dtype=False,
            obj=name,
        )


def test_a_worker_killed_in_the_middle_does_not_change_the_result(cluster, log, tmp_path):
    def kernel(j):
        (tmp_path / str(os.getsid(0))).touch()
        time.sleep(0.5)
        return (
            pd.DataFrame({"bucket": j.bucket, "n_rows": 1, "sum_time": j.time / 1e15})
            .groupby("bucket", as_index=False)
            .sum()
        )

    expected = log.reduce(kernel, events=["job_viewed"])
    for marker in tmp_path.iterdir():
        marker.unlink()
    found = []
    asking = threading.Thread(
        target=lambda: found.append(log.reduce(kernel, events=["job_viewed"]))
    )
    asking.start()
    victim = cluster.workers[1]
    _wait((tmp_path / str(victim.pid)).exists, "the second worker walks")
    assert asking.is_alive()
    cluster.kill(victim)
    asking.join(120)
    pd.testing.assert_frame_equal(found[0], expected, check_exact=True)


def test_filters_pass_and_are_checked_over_a_cluster(cluster, tmp_path):
    """The counts by hand, and the sentences, of tests/support/filters.py."""
    from mctlib.eventlog.spark import SparkLog

    for table, frame in (("events", events()), ("people", PEOPLE)):
        frame.to_parquet(tmp_path / table, coerce_timestamps="us")
    log = SparkLog(
        cluster.spark.read.parquet(str(tmp_path / "events")),
        people=cluster.spark.read.parquet(str(tmp_path / "people")),
        name="frame",
    )
    steps = [Step("sent", where) for where, _ in PASSES]
    bits = log.reduce(filters_met, events=steps)
    for i, (where, users) in enumerate(PASSES):
        n = bits.loc[(bits["mask"].to_numpy() >> i) & 1 == 1, "n_rows"].sum()
        assert n == len(users.split()), where
    for where, said in SAID:
        try:
            sentence = " ".join(log.missing_events([Step("sent", where)]))
        except ParameterError as error:
            sentence = str(error)
        assert said in sentence, where
    text = cluster.spark.createDataFrame(events().assign(properties="{'n': 3}").astype(str))
    unread = SparkLog(text.withColumn("timestamp", text["timestamp"].cast("timestamp")))
    assert unread.load["tables"]["events"]["n_unread"] == 10
    assert unread.counts(events=[Step("sent", {"n": 3})]).empty


def filters_met(j: Journeys) -> pd.DataFrame:
    return pd.DataFrame({"mask": j.mask.astype(np.int64), "n_rows": 1})


def test_own_columns_ids_and_who_meets_whom_are_those_of_the_store(cluster):
    """Counted by hand in test_own_columns and test_ids for the other engines."""
    from mctlib.eventlog.spark import SparkLog

    ids = ["1000", "1001.0", "\u00a01002 ", "1003"] * 5 + ["1.23457E+17"]
    events = pd.DataFrame(
        {"user_id": ids, "event": "join", "timestamp": pd.Timestamp("2026-01-01")}
    )
    people = pd.DataFrame(
        {
            "user_id": [1000.0, 1001.0, 1002.0, 10_000_000.0],  # which Spark writes as 1.0E7
            "Company size": [5, 12.0, None, 60],
            "platform": ["a", " b", "", "d"],
        }
    )
    expected = EventLog.from_frame(events, people=people)
    log = SparkLog(
        cluster.spark.createDataFrame(events),
        people=cluster.spark.createDataFrame(people),
        groups=2,
    )
    assert (
        log.load["met"]
        == expected.load["met"]
        == {
            "people": {"n_users": 4, "n_met": 3},
            "events": {"n_users": 4, "n_met": 3},
        }
    )
    why = {"impossible user_id such as 1.23457E+17": 1}
    assert log.load["tables"]["events"]["n_rejected"] == why
    for by in ("own_platform", {"Company size": [1, 10]}):
        pd.testing.assert_frame_equal(log.counts(by=by), expected.counts(by=by))
    strangers = cluster.spark.createDataFrame(people.assign(user_id=["A1", "B2", "C3", "D4"]))
    with pytest.raises(DataError, match="none of 4 user_ids of people is among the 4 of events"):
        SparkLog(cluster.spark.createDataFrame(events), people=strangers)
