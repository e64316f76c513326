"""A revision that only Alembic knows."""

from alembic import op

revision = "core_900"
down_revision = "core_001"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TABLE made_by_alembic (n integer)")


def downgrade():
    op.execute("DROP TABLE made_by_alembic")
