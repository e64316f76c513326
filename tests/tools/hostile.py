"""A migration tool that tries what it must not. Prints one line for each attempt: what it was, and what came of it."""

import os
import sys

import psycopg

server, target, foreign_pid = sys.argv[1:4]
role = os.environ["PGUSER"]


def outcome(attempt):
    try:
        attempt()
    except psycopg.Error as error:
        # What a connection begins with has its message only.
        return error.sqlstate or str(error).split("FATAL:")[-1].strip()
    return "done"


def connects(**how):
    return lambda: psycopg.connect(**{"connect_timeout": 10, **how}).close()


def runs(text):
    def attempt():
        with psycopg.connect(autocommit=True) as connection:
            connection.execute(text)

    return attempt


attempts = {
    "database postgres": connects(dbname="postgres"),
    "database template1": connects(dbname="template1"),
    "another user": connects(user="postgres"),
    "another password": connects(password="guessed"),
    "replication": connects(replication="true"),
    "logical replication": connects(replication="database"),
    "the server itself": connects(conninfo=server, password=os.environ["PGPASSWORD"], user=role),
    "COPY PROGRAM": runs("COPY (SELECT 1) TO PROGRAM 'cat'"),
    "COPY PROGRAM in DO": runs("DO $$ BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''cat'''; END $$"),
    "COPY FROM file": runs("CREATE TEMP TABLE f (t text); COPY f FROM '/etc/passwd'"),
    "pg_read_file": runs("SELECT pg_read_file('/etc/passwd')"),
    "lo_import": runs("SELECT lo_import('/etc/passwd')"),
    "terminate others": runs(f"SELECT pg_terminate_backend({foreign_pid})"),
    "cancel others": runs(f"SELECT pg_cancel_backend({foreign_pid})"),
    "reload": runs("SELECT pg_reload_conf()"),
    "SET ROLE": runs("SET ROLE postgres"),
    "SESSION AUTHORIZATION": runs("SET SESSION AUTHORIZATION postgres"),
    "be a superuser": runs(f'ALTER ROLE "{role}" SUPERUSER'),
    "read everything": runs(f'GRANT pg_read_all_data TO "{role}"'),
    "make a role": runs("CREATE ROLE resetd_hostile"),
    "make a database": runs("CREATE DATABASE resetd_hostile"),
    "rename the target": runs(f'ALTER DATABASE "{target}" RENAME TO gone'),
    "set the target": runs(f'ALTER DATABASE "{target}" SET work_mem = \'1MB\''),
    "drop the target": runs(f'DROP DATABASE "{target}"'),
    "ALTER SYSTEM": runs("ALTER SYSTEM SET work_mem = '1MB'"),
    "a C function": runs("CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc', 'getpid'"),
    "an event trigger": runs("CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()"),
    "a subscription": runs("CREATE SUBSCRIPTION s CONNECTION 'dbname=postgres' PUBLICATION p"),
    "read the passwords": runs("SELECT rolpassword FROM pg_authid"),
    "session_replication_role": runs("SET session_replication_role = replica"),
}

for name, attempt in attempts.items():
    print(f"{name}: {outcome(attempt)}".splitlines()[0])

seen = [name for name in os.environ if name.startswith("RESETCTL_TOKEN")]
print(f"tokens seen: {len(seen)}")
