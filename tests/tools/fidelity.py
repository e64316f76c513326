"""What drivers do beside plain statements, each checked: it ends with 0 only when all of it works through the gateway."""

import os
import threading
import time

import psycopg
from psycopg import sql


def expect(condition, what):
    if not condition:
        raise SystemExit(f"not as it should be: {what}")


with psycopg.connect(autocommit=True) as connection:
    cursor = connection.cursor()
    expect(connection.info.dbname == os.environ["PGDATABASE"], "the name that the client knows")
    cursor.execute("SHOW search_path")
    print("search_path", cursor.fetchone()[0])

    # COPY, both ways.
    cursor.execute("CREATE TABLE copied (id int, filling text)")
    with cursor.copy("COPY copied FROM STDIN") as copy:
        for n in range(20_000):
            copy.write_row((n, "x" * 100))
    with cursor.copy("COPY copied TO STDOUT") as copy:
        size = sum(len(bytes(block)) for block in copy)
    expect(size > 2_000_000, f"COPY gave {size} bytes")

    # A message of 8 MiB, and a row of that size.
    large = "y" * (8 * 1024 * 1024)
    row = cursor.execute("SELECT %s::text", [large]).fetchone()
    expect(row[0] == large, "a large value")

    # Notices.
    notices = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    cursor.execute("DO $$ BEGIN RAISE NOTICE 'heard'; END $$")
    expect(notices == ["heard"], f"notices {notices}")

    # LISTEN and NOTIFY.
    cursor.execute("LISTEN bell")
    with psycopg.connect(autocommit=True) as other:
        other.execute("NOTIFY bell, 'rung'")
    payloads = [it.payload for it in connection.notifies(timeout=30, stop_after=1)]
    expect(payloads == ["rung"], f"notifications {payloads}")

    # A cancel stops the statement of its own session.
    threading.Timer(0.5, connection.cancel).start()
    try:
        cursor.execute("SELECT pg_sleep(60)")
        expect(False, "the cancel did nothing")
    except psycopg.errors.QueryCanceled:
        pass

    # Batches, with an error in the middle.
    with psycopg.connect() as batch:
        try:
            with batch.pipeline():
                batch.execute("SELECT 1")
                batch.execute("SELECT 1 / 0")
                batch.execute("SELECT 2")
        except psycopg.errors.DivisionByZero:
            batch.rollback()
        expect(batch.execute("SELECT 3").fetchone() == (3,), "after an error in a batch")

    # Prepared statements, binary values, a cursor of the server's.
    for n in range(10):
        got = cursor.execute("SELECT %s::int8 + 1", [n], prepare=True, binary=True).fetchone()
        expect(got == (n + 1,), "a prepared statement")
    with psycopg.connect() as held, held.cursor("named") as named:
        named.execute("SELECT * FROM generate_series(1, 5000)")
        expect(len(named.fetchall()) == 5000, "a cursor of the server's")

# Settings of the startup packet.
with psycopg.connect(client_encoding="latin1", options="-c search_path=pg_catalog -c work_mem=5MB") as tuned:
    expect(tuned.execute("SHOW client_encoding").fetchone() == ("LATIN1",), "an encoding")
    expect(tuned.execute("SHOW search_path").fetchone() == ("pg_catalog",), "a search path of one's own")
    expect(tuned.execute("SHOW work_mem").fetchone() == ("5MB",), "an option")
    expect(tuned.execute("SELECT 'é'").fetchone() == ("é",), "a letter")

# Many at once, no more than there may be.
many = [psycopg.connect() for _ in range(32)]
try:
    psycopg.connect().close()
    expect(False, "one too many was let in")
except psycopg.OperationalError as error:
    expect("32 connections" in str(error), f"another error: {error}")
for one in many:
    one.close()
time.sleep(0)
