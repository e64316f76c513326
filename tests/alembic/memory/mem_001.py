"""A stub: resetd applies the real one."""

revision = "mem_001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    pass


def downgrade():
    pass
