"""Fails after it has changed something."""

from alembic import op

revision = "t005"
down_revision = "t004"


def upgrade():
    op.execute("CREATE TABLE half_done (id int)")
    op.execute("INSERT INTO no_such_table VALUES (1)")
