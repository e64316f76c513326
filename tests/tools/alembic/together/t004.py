"""A view, a function with its trigger, a comment, a nested transaction that is rolled back."""

from alembic import op

revision = "t004"
down_revision = "t003"


def upgrade():
    op.execute("CREATE VIEW open_order AS SELECT * FROM orders WHERE state = 'open'")
    op.execute(
        """
        CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.name := trim(NEW.name); RETURN NEW; END $$
        """
    )
    op.execute("CREATE TRIGGER trimmed BEFORE INSERT ON customer FOR EACH ROW EXECUTE FUNCTION touched()")
    op.execute("COMMENT ON TABLE orders IS 'what customers bought; 50% more of it'")
    connection = op.get_bind()
    nested = connection.begin_nested()
    connection.exec_driver_sql("INSERT INTO customer VALUES (9999, 'nobody')")
    nested.rollback()
