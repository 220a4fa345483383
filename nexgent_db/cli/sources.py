"""The queries that a command is about, this package's and the service's, and their contracts."""

from __future__ import annotations

from typing import Any

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.cli.project import import_modules
from nexgent_db.contract import ContractFile, Source, all_sources, own_sources, read
from nexgent_db.project import Project
from nexgent_db.sync.repositories.base import Repository as SyncRepository

__all__ = ["contract_of", "known_contracts", "service_sources", "sources"]


def sources(project: Project) -> list[Source]:
    """The queries of this package, then the service's. Raises as :func:`service_sources` does."""
    return [*all_sources(Repository), *service_sources(project)]


def service_sources(project: Project) -> list[Source]:
    """The service's queries. Raises ConfigurationError, SqlFileError and QueryBindingError for what cannot be read."""
    import_modules(project)
    return own_sources((Repository, SyncRepository), project.modules, project.sql)


def contract_of(project: Project) -> ContractFile | None:
    """The service's contract; None when the project has no queries."""
    if project.contract is None:
        return None
    return ContractFile.of_service(project.contract, project.migrations.values())


def known_contracts(project: Project) -> dict[str, Any]:
    """The lines of both contracts, as far as they exist."""
    found = [read(), read(project.contract) if project.contract else None]
    lines = [contract.get("queries") for contract in found if contract]
    return {"queries": [line for each in lines if isinstance(each, list) for line in each]}
