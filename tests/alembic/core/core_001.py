"""A stub: resetd applies the real one."""

revision = "core_001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    pass


def downgrade():
    pass
