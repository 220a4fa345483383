"""Partitions the tables that only grow, in a database that lives: optional, and undone as it was done.

:class:`Partitioner` plans and applies the change, makes partitions ahead, and takes old ones away.
"""

from nexgent_db.migrations.partitions.partitioner import Partitioner, Retired
from nexgent_db.migrations.partitions.step import PartitionStep
from nexgent_db.migrations.partitions.tables import TABLES, GrowingTable
from nexgent_db.migrations.partitions.upkeep import PartitionState

__all__ = ["TABLES", "GrowingTable", "PartitionState", "PartitionStep", "Partitioner", "Retired"]
