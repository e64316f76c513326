"""What waits for a commit was settled: the table can be altered. An index outside a transaction."""

from alembic import op

revision = "t003"
down_revision = "t002"


def upgrade():
    op.execute("ALTER TABLE orders ADD COLUMN note text")
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY orders_by_customer ON orders (customer_id)")
    op.execute("SET LOCAL lock_timeout = '7s'")
