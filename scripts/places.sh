# Where the scripts find things. Sourced from the root of the clone.

# Where cargo builds; cargo honours the variable, and so do the scripts.
target=${CARGO_TARGET_DIR:-target}

# The folder of PostgreSQL's programs, in the places where the daemon looks too (server/src/embedded/binaries.rs).
postgres_bin() {
    local folder
    for folder in "$(pg_config --bindir 2>/dev/null || true)" \
        "$(dirname -- "$(command -v initdb 2>/dev/null || echo /nowhere/initdb)")" \
        /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/lib/postgresql*/bin /usr/libexec/postgresql* \
        /usr/lib64/postgresql-*/bin /usr/local/pgsql/bin /opt/homebrew/opt/postgresql*/bin \
        /usr/local/opt/postgresql*/bin /home/linuxbrew/.linuxbrew/opt/postgresql*/bin \
        /Applications/Postgres.app/Contents/Versions/*/bin; do
        if [[ -x "$folder/initdb" && -x "$folder/postgres" ]]; then
            printf '%s\n' "$folder"
            return
        fi
    done
    return 1
}

# psql, beside the server's programs or wherever the PATH has it.
psql_path() {
    local folder
    if folder=$(postgres_bin) && [[ -x "$folder/psql" ]]; then
        printf '%s\n' "$folder/psql"
    else
        command -v psql
    fi
}
