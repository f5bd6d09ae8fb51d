"""Checkpoints, data sets, directions, surfaces, units and shares"""

from alembic import op
import sqlalchemy as sa


revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('checkpoints',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('filename', sa.String(length=255), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('problem', sa.Text(), nullable=True),
    sa.Column('report', sa.Text(), nullable=True),
    sa.Column('created', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('checkpoints', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_checkpoints_state'), ['state'], unique=False)

    op.create_table('datasets',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('filename', sa.String(length=255), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('problem', sa.Text(), nullable=True),
    sa.Column('report', sa.Text(), nullable=True),
    sa.Column('created', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('datasets', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_datasets_state'), ['state'], unique=False)

    op.create_table('directions',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('filename', sa.String(length=255), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('problem', sa.Text(), nullable=True),
    sa.Column('report', sa.Text(), nullable=True),
    sa.Column('created', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('directions', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_directions_state'), ['state'], unique=False)

    op.create_table('surfaces',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('title', sa.String(length=255), nullable=False),
    sa.Column('problem', sa.Text(), nullable=True),
    sa.Column('origin', sa.String(length=16), nullable=False),
    sa.Column('checkpoint', sa.String(length=64), nullable=True),
    sa.Column('checkpoint_name', sa.String(length=255), nullable=False),
    sa.Column('dataset', sa.String(length=128), nullable=True),
    sa.Column('request', sa.Text(), nullable=True),
    sa.Column('job', sa.Text(), nullable=True),
    sa.Column('stage', sa.Integer(), nullable=False),
    sa.Column('stages', sa.Integer(), nullable=False),
    sa.Column('examples', sa.BigInteger(), nullable=False),
    sa.Column('done', sa.Double(), nullable=False),
    sa.Column('provenance', sa.Text(), nullable=False),
    sa.Column('measured', sa.Text(), nullable=False),
    sa.Column('finishing', sa.String(length=8), nullable=False),
    sa.Column('created', sa.DateTime(timezone=True), nullable=False),
    sa.Column('finished', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('surfaces', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_surfaces_checkpoint'), ['checkpoint'], unique=False)
        batch_op.create_index(batch_op.f('ix_surfaces_created'), ['created'], unique=False)
        batch_op.create_index(batch_op.f('ix_surfaces_dataset'), ['dataset'], unique=False)
        batch_op.create_index(batch_op.f('ix_surfaces_state'), ['state'], unique=False)

    op.create_table('shares',
    sa.Column('token_sha256', sa.String(length=64), nullable=False),
    sa.Column('public_id', sa.String(length=32), nullable=False),
    sa.Column('surface', sa.String(length=64), nullable=False),
    sa.Column('view', sa.Text(), nullable=False),
    sa.Column('label', sa.String(length=200), nullable=False),
    sa.Column('created', sa.DateTime(timezone=True), nullable=False),
    sa.Column('views', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['surface'], ['surfaces.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('token_sha256'),
    sa.UniqueConstraint('public_id')
    )
    with op.batch_alter_table('shares', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_shares_surface'), ['surface'], unique=False)

    op.create_table('units',
    sa.Column('surface', sa.String(length=64), nullable=False),
    sa.Column('unit', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('problem', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['surface'], ['surfaces.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('surface', 'unit')
    )


def downgrade() -> None:
    op.drop_table('units')
    with op.batch_alter_table('shares', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_shares_surface'))

    op.drop_table('shares')
    with op.batch_alter_table('surfaces', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_surfaces_state'))
        batch_op.drop_index(batch_op.f('ix_surfaces_dataset'))
        batch_op.drop_index(batch_op.f('ix_surfaces_created'))
        batch_op.drop_index(batch_op.f('ix_surfaces_checkpoint'))

    op.drop_table('surfaces')
    with op.batch_alter_table('directions', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_directions_state'))

    op.drop_table('directions')
    with op.batch_alter_table('datasets', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_datasets_state'))

    op.drop_table('datasets')
    with op.batch_alter_table('checkpoints', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_checkpoints_state'))

    op.drop_table('checkpoints')
