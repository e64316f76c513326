"""Alembic's environment for the tests: one schema, whose version table lies in it."""

import os

from alembic import context
from sqlalchemy import create_engine, text

schema = os.environ["ALEMBIC_SCHEMA"]

with create_engine(os.environ["ALEMBIC_URL"]).connect() as connection:
    connection.execute(text(f'SET search_path TO "{schema}", shared, public'))
    connection.commit()
    context.configure(connection=connection, version_table_schema=schema)
    with context.begin_transaction():
        context.run_migrations()
