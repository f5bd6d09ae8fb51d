"""Checkpoints that somebody brought by themselves, whatever archive holds them too"""

from alembic import op
import sqlalchemy as sa


revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('checkpoints', schema=None) as batch_op:
        batch_op.add_column(sa.Column('alone', sa.Boolean(), nullable=False, server_default=sa.false()))
