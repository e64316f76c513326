"""Tables, an enum, constraints that wait for the commit."""

import sqlalchemy as sa
from alembic import op

revision = "t001"
down_revision = None


def upgrade():
    op.create_table(
        "customer",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
    )
    op.execute("CREATE TYPE order_state AS ENUM ('open', 'paid')")
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "customer_id",
            sa.Integer,
            sa.ForeignKey("customer.id", deferrable=True, initially="DEFERRED"),
        ),
    )
    op.execute("ALTER TABLE orders ADD COLUMN state order_state NOT NULL DEFAULT 'open'")
