"""Data that is written in batches, before what it refers to, and read back in Python."""

import sqlalchemy as sa
from alembic import op

revision = "t002"
down_revision = "t001"


def upgrade():
    customer = sa.table("customer", sa.column("id", sa.Integer), sa.column("name", sa.Text))
    connection = op.get_bind()
    connection.execute(sa.text("INSERT INTO orders (id, customer_id) VALUES (50, 50)"))
    op.bulk_insert(customer, [{"id": n, "name": f"customer {n}"} for n in range(1, 501)])
    for row in connection.execute(sa.text("SELECT id FROM customer WHERE id % 50 = 0 AND id > 50")).fetchall():
        connection.execute(
            sa.text("INSERT INTO orders (id, customer_id) VALUES (:id, :customer)"),
            {"id": row.id, "customer": row.id},
        )
    assert "orders" in sa.inspect(connection).get_table_names()
