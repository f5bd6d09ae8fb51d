"""Surfaces that somebody sends while they are computed elsewhere"""

from alembic import op
import sqlalchemy as sa


revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('live_imports',
    sa.Column('surface', sa.String(length=64), nullable=False),
    sa.Column('secret_sha256', sa.String(length=64), nullable=False),
    sa.Column('heard', sa.DateTime(timezone=True), nullable=False),
    sa.Column('states', sa.Integer(), nullable=False),
    sa.Column('pending', sa.String(length=64), nullable=True),
    sa.Column('pending_stage', sa.Integer(), nullable=False),
    sa.Column('pending_stages', sa.Integer(), nullable=False),
    sa.Column('refused', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['surface'], ['surfaces.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('surface')
    )
    with op.batch_alter_table('live_imports', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_live_imports_pending'), ['pending'], unique=False)
