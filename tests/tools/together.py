"""What a driver may do in a session of its own, and what it finds: the same in a database, and within resetd's transaction."""

import os

import psycopg
from psycopg import pq

URL = os.environ["DATABASE_URL"]


def connect(**more):
    return psycopg.connect(URL, autocommit=True, **more)


def state(connection, sql, *values):
    try:
        connection.execute(sql, values or None)
        return "ok"
    except psycopg.Error as error:
        return error.sqlstate


with connect(options="-c statement_timeout=77s") as a:
    status = lambda: pq.TransactionStatus(a.info.transaction_status).name
    print("settings", a.execute("SELECT current_schemas(false)").fetchone()[0], [a.execute(f"SHOW {name}").fetchone()[0] for name in
        ("statement_timeout", "standard_conforming_strings", "DateStyle", "row_security", "transform_null_equals")])
    a.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    a.execute("CREATE TABLE u (id int REFERENCES t DEFERRABLE INITIALLY DEFERRED, n int)")
    print(status(), state(a, "BEGIN"), status(), state(a, "BEGIN"), status())
    print(state(a, "INSERT INTO t VALUES (1, 'one')"), state(a, "SAVEPOINT s"), state(a, "INSERT INTO t VALUES (1, 'again')"), status())
    print(state(a, "SELECT 1"), state(a, "SAVEPOINT x"), state(a, "ROLLBACK TO s"), status())
    print(state(a, "INSERT INTO t VALUES (2, 'two')"), state(a, "RELEASE s"), state(a, "RELEASE s"), status(), state(a, "COMMIT"), status())
    print("rolled back", a.execute("SELECT count(*) FROM t").fetchone()[0])
    print(state(a, "BEGIN"), state(a, "INSERT INTO t VALUES (1, 'one')"), state(a, "COMMIT AND CHAIN"), status(), state(a, "ROLLBACK"), status())
    # What was put off fires at the commit, which then fails; alone it fires at once.
    print(state(a, "INSERT INTO u VALUES (99, 1)"), state(a, "BEGIN"), state(a, "INSERT INTO u VALUES (98, 1)"), state(a, "COMMIT"), status())
    print(state(a, "BEGIN"), state(a, "INSERT INTO u VALUES (5, 1)"), state(a, "INSERT INTO t VALUES (5, 'five')"), state(a, "COMMIT"), state(a, "ALTER TABLE u ADD COLUMN m int"))
    # Several statements in a message are one transaction.
    wire = a.pgconn
    wire.exec_(b"INSERT INTO t VALUES (6, 'six'); INSERT INTO t VALUES (1, 'one')")
    print("one message", a.execute("SELECT count(*) FROM t WHERE id = 6").fetchone()[0])
    wire.exec_(b"INSERT INTO t VALUES (7, 'seven'); BEGIN; INSERT INTO t VALUES (8, 'eight')")
    print(status(), state(a, "ROLLBACK"), a.execute("SELECT count(*) FROM t WHERE id IN (7, 8)").fetchone()[0])
    result = wire.exec_(b"SELECT 1;\n  SELECT no_such_column")
    print("position", result.error_field(pq.DiagnosticField.STATEMENT_POSITION))
    # Settings: for the session, for the transaction, taken back.
    print(state(a, "SET work_mem = '8MB'"), state(a, "BEGIN"), state(a, "SET LOCAL work_mem = '9MB'"), a.execute("SHOW work_mem").fetchone()[0], state(a, "COMMIT"), a.execute("SHOW work_mem").fetchone()[0])
    print(state(a, "BEGIN"), state(a, "SET work_mem = '10MB'"), state(a, "ROLLBACK"), a.execute("SHOW work_mem").fetchone()[0], state(a, "SET LOCAL work_mem = '11MB'"), a.execute("SHOW work_mem").fetchone()[0])
    print(state(a, "RESET work_mem"), a.execute("SHOW work_mem").fetchone()[0] != "8MB", state(a, "SET search_path TO DEFAULT"), a.execute("SELECT current_schemas(false)").fetchone()[0])
    print(state(a, "SET statement_timeout = 0"), state(a, "RESET ALL"), a.execute("SHOW statement_timeout").fetchone()[0])
    # Prepared statements, by name, without one, with a cursor; copies both ways.
    a.prepare_threshold = 0
    for n in range(10, 13):
        a.execute("INSERT INTO t VALUES (%s, %s)", (n, f"n{n}"))
    print("prepared", a.execute("SELECT name FROM t WHERE id = %s", (11,)).fetchone()[0], state(a, "DEALLOCATE ALL"), a.execute("SELECT name FROM t WHERE id = %s", (12,)).fetchone()[0])
    with a.cursor().copy("COPY t FROM STDIN") as copy:
        for n in range(1000, 4000):
            copy.write_row((n, "x" * 50))
    with a.cursor().copy("COPY (SELECT * FROM t WHERE id >= 1000) TO STDOUT") as copy:
        print("copied", sum(len(bytes(block)) for block in copy))
    wire.exec_(b"INSERT INTO t VALUES (4000, 'after'); COPY t (id) FROM STDIN")
    wire.put_copy_data(b"4001\n"); wire.put_copy_end()
    while wire.get_result():
        pass
    print("copy in a message", a.execute("SELECT count(*) FROM t WHERE id > 3999").fetchone()[0])
    try:
        with a.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write_row((1, "double"))
    except psycopg.Error as error:
        print("copy fails", error.sqlstate, status())
    with a.transaction(), a.cursor("c") as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT id FROM t ORDER BY id")
        print("cursor", sum(1 for _ in cursor))
    print(state(a, "ALTER TABLE t ADD COLUMN more text"))
    with a.pipeline():
        a.execute("INSERT INTO t (id) VALUES (5000)")
        a.execute("INSERT INTO t (id) VALUES (5001)")
    try:
        with a.pipeline():
            a.execute("INSERT INTO t (id) VALUES (5002)")
            a.execute("INSERT INTO t (id) VALUES (1)")
    except psycopg.Error as error:
        print("pipeline fails", error.sqlstate)
    print("pipeline", a.execute("SELECT count(*) FROM t WHERE id >= 5000").fetchone()[0])
    print(state(a, "CREATE INDEX CONCURRENTLY t_name ON t (name)"), state(a, "VACUUM t"), state(a, "DROP INDEX CONCURRENTLY t_name"))
    print("empty", wire.exec_(b" ; -- nothing").status, state(a, "CREATE TEMP TABLE mine (i int)"), state(a, "DISCARD ALL"))
    print(state(a, "LISTEN x"), state(a, "NOTIFY x"), state(a, "SELECT pg_advisory_lock(5)"), state(a, "SELECT pg_advisory_unlock(5)"))
    print(state(a, "DO $$ BEGIN RAISE division_by_zero; END $$"), status(), state(a, "SELECT 'ä'; SELECT 1"), state(a, "SELEC"), status())
# What one session sets, another does not find; what is not committed goes with its session.
with connect() as a, connect() as b:
    a.execute("SET work_mem = '12MB'")
    print("apart", b.execute("SHOW work_mem").fetchone()[0] != "12MB", a.execute("SHOW work_mem").fetchone()[0])
    b.execute("BEGIN"); b.execute("DELETE FROM t WHERE id = 1"); b.pgconn.finish()
with connect() as a:
    print("left", a.execute("SELECT count(*) FROM t WHERE id = 1").fetchone()[0])
