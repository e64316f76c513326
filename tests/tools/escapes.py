"""Texts that try to end the transaction that they run in, each after it has made a table. The tool fails at the end: nothing of it
may be left. Arguments: none. Prints what came of each."""

import os
import sys

import psycopg

BACK = "\\"
ATTEMPTS = [
    "CREATE TABLE {t} (i int); COMMIT",
    "CREATE TABLE {t} (i int); END; SELECT 1",
    "/* a /* COMMIT */ b */ CREATE TABLE {t} (i int); -- x\n/* y */ COMMIT /* z */;",
    "BEGIN; CREATE TABLE {t} (i int); COMMIT; BEGIN; COMMIT AND CHAIN; COMMIT",
    "BEGIN; CREATE TABLE {t} (i int); PREPARE TRANSACTION 'x'",
    "BEGIN; CREATE TABLE {t} (i int); COMMIT PREPARED 'x'",
    "ROLLBACK; CREATE TABLE {t} (i int); COMMIT",
    "ABORT AND CHAIN; CREATE TABLE {t} (i int)",
    "CREATE TABLE {t} (i int); DO $$ BEGIN COMMIT; END $$",
    "CREATE TABLE {t} (i int); DO $$ BEGIN EXECUTE 'COMMIT'; END $$",
    "CREATE TABLE {t} (i int); DO $$ BEGIN EXECUTE 'ROLLBACK TO SAVEPOINT gateway_1'; END $$",
    "CREATE TABLE {t} (i int); ROLLBACK TO SAVEPOINT gateway_1",
    "CREATE TABLE {t} (i int); RELEASE gateway_1; COMMIT",
    "CREATE TABLE {t} (i int); CREATE PROCEDURE {t}_p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$; CALL {t}_p()",
    "CREATE TABLE {t} (i int); CREATE FUNCTION {t}_f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END; COMMIT",
    "CREATE TABLE {t} (i int); CREATE FUNCTION {t}_g() RETURNS int LANGUAGE sql AS 'COMMIT; SELECT 1'; SELECT {t}_g()",
    "CREATE TABLE {t} (i int); SELECT $a$;$b$;COMMIT;$a$; COMMIT",
    "CREATE TABLE {t} (i int); SELECT E'" + BACK + "'; COMMIT; --'",
    "CREATE TABLE {t} (i int); SELECT '" + BACK + "'; COMMIT; --'",
    "SET standard_conforming_strings = off; CREATE TABLE {t} (i int); SELECT '" + BACK + "'; COMMIT; --'",
    "SELECT set_config('standard_conforming_strings', 'off', false); SELECT '" + BACK + "''; COMMIT; --'; CREATE TABLE {t} (i int)",
    "CREATE TABLE {t} (i int); SELECT U&'!0041' UESCAPE '!'; COMMIT",
    'CREATE TABLE {t} (i int); SELECT 1 AS ";COMMIT;"; COMMIT',
    "CREATE TABLE {t} (i int); DROP TABLE pg_temp.resetd_latch CASCADE; COMMIT",
    "CREATE TABLE {t} (i int); DISCARD TEMP; DISCARD ALL; COMMIT",
    "CREATE TABLE {t} (i int); SET SESSION AUTHORIZATION DEFAULT; RESET ALL; COMMIT",
    "CREATE TABLE {t} (i int); SET TRANSACTION READ WRITE; COMMIT",
    "CREATE TABLE {t} (i int); EXPLAIN ANALYZE COMMIT",
    "CREATE TABLE {t} (i int); \ufeffCOMMIT; COMMIT",
    "CREATE TABLE {t} (i int)\u00a0; COMMIT",
    "SAVEPOINT a; CREATE TABLE {t} (i int); COMMIT",
]
ALONE = ["COMMIT", "END", "ABORT", "ROLLBACK", "COMMIT AND CHAIN", "PREPARE TRANSACTION 'y'", "-- x\nCOMMIT", "/* */ ROLLBACK"]


def connect():
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)


def said(result):
    code = result.error_field(psycopg.pq.DiagnosticField.SQLSTATE)
    return code.decode() if code else "ok"


for number, text in enumerate(ATTEMPTS):
    with connect() as connection:
        print(number, said(connection.pgconn.exec_(text.format(t=f"escaped_{number}").encode())), flush=True)
# One statement by the other protocol, prepared and not.
for number, text in enumerate(ALONE):
    with connect() as connection:
        wire = connection.pgconn
        wire.exec_(f"BEGIN; CREATE TABLE escaped_alone_{number} (i int)".encode())
        print(text.split()[-1], said(wire.exec_params(text.encode(), [])), flush=True)
        wire.prepare(b"p", text.encode())
        print(text.split()[-1], said(wire.exec_prepared(b"p", [])), flush=True)
# What one session sets is set again when it comes back from another: that must not be a statement.
with connect() as one, connect() as other:
    one.pgconn.exec_(b"SET standard_conforming_strings = off")
    evil = f"SELECT set_config('my.setting', E'{BACK}{BACK}''; COMMIT; --', false)"
    print("evil", said(one.pgconn.exec_(evil.encode())))
    other.execute("CREATE TABLE escaped_by_setting (i int)")
    value = one.execute("SELECT current_setting('my.setting')").fetchone()[0]
    assert value == BACK + "'; COMMIT; --", value
# In an encoding of one byte a character.
with connect() as connection:
    connection.execute("SET client_encoding = 'LATIN1'")
    print("latin1", said(connection.pgconn.exec_("CREATE TABLE escaped_l (i int); SELECT 'ä;'; COMMIT; SELECT 'ö'".encode("latin1"))))
tables = connect().execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'escaped%'").fetchone()[0]
print("made", tables)
sys.exit(3)
