"""Data that is written in batches and read back in Python: nothing that could be written out as SQL."""

import sqlalchemy as sa
from alembic import op

revision = "a002"
down_revision = "a001"


def upgrade():
    customer = sa.table("customer", sa.column("id", sa.Integer), sa.column("name", sa.Text))
    op.bulk_insert(customer, [{"id": n, "name": f"customer {n}"} for n in range(1, 501)])
    connection = op.get_bind()
    for row in connection.execute(sa.text("SELECT id FROM customer WHERE id % 50 = 0 ORDER BY id")).fetchall():
        connection.execute(
            sa.text("INSERT INTO orders (id, customer_id) VALUES (:id, :customer)"),
            {"id": row.id, "customer": row.id},
        )
    assert "orders" in sa.inspect(connection).get_table_names()
