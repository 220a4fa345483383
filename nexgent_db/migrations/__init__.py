"""Changes a schema safely: hand-written files, applied in order, each in one transaction with its mark."""

from nexgent_db.errors import MigrationError, MigrationLocked
from nexgent_db.migrations.cells import CellResult, Cells, CellState, CellStatus
from nexgent_db.migrations.history import BOOKKEEPING_TABLES
from nexgent_db.migrations.lock_report import LockReport, TableLock
from nexgent_db.migrations.migrator import MigrationStatus, Migrator, PlannedMigration, StepCallback
from nexgent_db.migrations.planner import HistoryProblem
from nexgent_db.migrations.runner import MessageCallback

__all__ = [
    "BOOKKEEPING_TABLES",
    "CellResult",
    "CellState",
    "CellStatus",
    "Cells",
    "HistoryProblem",
    "LockReport",
    "MessageCallback",
    "MigrationError",
    "MigrationLocked",
    "MigrationStatus",
    "Migrator",
    "PlannedMigration",
    "StepCallback",
    "TableLock",
]
