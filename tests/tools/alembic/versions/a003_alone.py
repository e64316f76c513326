"""What needs to be outside a transaction: a value of an enum that is used at once, an index made concurrently."""

from alembic import op

revision = "a003"
down_revision = "a002"


def upgrade():
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE order_state ADD VALUE 'returned'")
    op.execute("UPDATE orders SET state = 'returned' WHERE id = 50")
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY orders_by_customer ON orders (customer_id)")
