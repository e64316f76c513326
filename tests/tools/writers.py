"""Two connections: while one has a transaction open, the other one reads."""

import os

import psycopg

url = os.environ["DATABASE_URL"]
with psycopg.connect(url, autocommit=True) as a, psycopg.connect(url, autocommit=True) as b:
    a.execute("CREATE TABLE t (i int)")
    b.execute("INSERT INTO t VALUES (1)")
    a.execute("BEGIN")
    a.execute("INSERT INTO t VALUES (2)")
    print("reads", b.execute("SELECT count(*) FROM t").fetchone()[0])
    for sql in ("INSERT INTO t VALUES (3)", "CREATE TABLE u (i int)", "SELECT nextval('s')", "DO $$ BEGIN DELETE FROM t; END $$"):
        a.execute("CREATE SEQUENCE IF NOT EXISTS s")
        try:
            b.execute(sql)
            print("written", sql)
        except psycopg.Error as error:
            print(error.sqlstate, error.diag.message_hint)
    a.execute("COMMIT")
    b.execute("INSERT INTO t VALUES (4)")
    b.execute("BEGIN"); b.execute("INSERT INTO t VALUES (5)"); b.execute("ROLLBACK")
    print("left", [row[0] for row in a.execute("SELECT i FROM t ORDER BY i")])
