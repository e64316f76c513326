"""Reads reports the way the old script's consumers do: it knows the old paths, and nothing else.

    old_reports.py REPORT…

It prints one line for each report, and fails on the first key that is not there or is of another kind.
"""

import datetime
import json
import sys

RESET = {"scope": str, "status": str}
MANAGED = {"schema": str, "schema_exists_before": bool, "table_count_before": int,
           "schema_exists_after": bool, "table_count_after": int}
DATABASE = {"database": str, "db_exists_before": bool, "active_connections_before": int, "db_exists_after": bool}
MIGRATION = {"schema": str, "chain": str, "expected_revision": str, "status": str}
SCHEMA = {"schema": str, "exists": bool}
TABLE = {"schema": str, "table": str, "group": str, "exists": bool}
REVISION = {"schema": str, "expected_revision": str, "versions": list, "present": bool}
COUNTS = ["schemas_checked", "tables_checked", "revisions_checked", "missing_schemas", "missing_tables",
          "missing_revisions"]


def has(it, keys, where):
    for key, kind in keys.items():
        assert type(it[key]) is kind, f"{where}.{key} is {it[key]!r}, not a {kind.__name__}"


def resets(reset):
    entries = reset if isinstance(reset, list) else [reset]
    for entry in entries:
        has(entry, RESET, "reset")
        has(entry, MANAGED if entry["scope"] == "managed-schema" else DATABASE, "reset")
    return len(entries)


def validation(it):
    checks = {"schemas": ("schema_results", SCHEMA, "exists"), "tables": ("table_checks", TABLE, "exists"),
              "revisions": ("revision_checks", REVISION, "present")}
    for kind, (name, keys, there) in checks.items():
        for check in it[name]:
            has(check, keys, name)
        # What is missing are the checks that failed, as they stand.
        assert it["missing"][kind] == [check for check in it[name] if not check[there]], kind
        assert it["summary"][f"missing_{kind}"] == len(it["missing"][kind]), kind
        assert it["summary"][f"{kind}_checked"] == len(it[name]), kind
    has(it["summary"], dict.fromkeys(COUNTS, int), "summary")
    assert it["status"] in ("ok", "failed"), it["status"]
    return f"{it['status']}, {sum(len(it['missing'][kind]) for kind in checks)} missing"


def read(path):
    report = json.load(open(path, encoding="utf-8"))
    assert report["generated_at"].endswith("Z")
    datetime.datetime.fromisoformat(report["generated_at"].replace("Z", "+00:00"))
    assert type(report["command"]) is str and type(report["target_db"]) is str
    assert type(report["target_env_var"]) is str
    assert report["status"] in ("ok", "failed", "error"), report["status"]
    # Only an error has a text: differences stand in the validation.
    assert (type(report["error"]) is str) == (report["status"] == "error"), report["error"]
    details = report["details"]
    assert type(details["dry_run"]) is bool
    words = [report["command"], report["status"]]
    if details["scope"]:
        words.append(details["scope"])
    if details["dry_run"]:
        words.append("note" if details["note"] else "dry run")
    if details["reset"]:
        words.append(f"{resets(details['reset'])} reset")
    if details["migrations"]:
        for migration in details["migrations"]:
            has(migration, MIGRATION, "migrations")
        words.append(f"{len(details['migrations'])} migrated")
    if details["validation"]:
        words.append(validation(details["validation"]))
    return ", ".join(words)


for name in sys.argv[1:]:
    print(read(name))
