"""Turns the output of ``EXPLAIN (FORMAT JSON)`` into readable steps. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Step", "step_of"]

_DETAILS: Final = (
    "Index Cond",
    "Recheck Cond",
    "Hash Cond",
    "Merge Cond",
    "TID Cond",
    "Join Filter",
    "Filter",
    "One-Time Filter",
    "Order By",
    "Sort Key",
    "Presorted Key",
    "Group Key",
    "Cache Key",
    "Conflict Resolution",
    "Conflict Arbiter Indexes",
    "Conflict Filter",
    "Rows Removed by Filter",
    "Rows Removed by Join Filter",
    "Rows Removed by Index Recheck",
    "Heap Fetches",
    "Sort Method",
    "Workers Planned",
)
_STRATEGIES: Final = {"Hashed": "HashAggregate", "Sorted": "GroupAggregate", "Mixed": "MixedAggregate"}


@dataclass(frozen=True, slots=True)
class Step:
    """One node: ``Index Scan using users_pkey on users``, its cost, its conditions, and the nodes below it."""

    title: str
    figures: str
    details: tuple[tuple[str, str], ...]
    below: tuple[Step, ...]

    def lines(self, depth: int = 0) -> Iterator[str]:
        """Title and details, indented by depth; without figures, so that equal plans give equal lines."""
        yield "  " * depth + self.title
        for label, text in self.details:
            yield "  " * depth + f"  {label}: {text}"
        for each in self.below:
            yield from each.lines(depth + 1)


def step_of(plan: Mapping[str, Any]) -> Step:
    """The step of a plan's node, with the steps below it."""
    details = [(label, _listed(plan[label])) for label in _DETAILS if plan.get(label) not in (None, [], 0)]
    if "Actual Loops" in plan and (blocks := _blocks(plan)):
        details.append(("Buffers", blocks))
    return Step(_title(plan), _figures(plan), tuple(details), tuple(map(step_of, plan.get("Plans", ()))))


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _title(plan: Mapping[str, Any]) -> str:
    kind: str = plan["Node Type"]
    if kind == "ModifyTable":
        kind = plan["Operation"]
    elif kind == "Aggregate":
        kind = _STRATEGIES.get(plan.get("Strategy", ""), kind)
    elif (join := plan.get("Join Type", "Inner")) != "Inner":
        kind = f"{kind.removesuffix(' Join')} {join} Join"
    if plan.get("Scan Direction") == "Backward":
        kind += " Backward"
    if plan.get("Parallel Aware"):
        kind = f"Parallel {kind}"
    if "Index Name" in plan:
        kind += f" {'on' if kind.startswith('Bitmap') else 'using'} {plan['Index Name']}"
    if (target := plan.get("Relation Name") or plan.get("CTE Name") or plan.get("Function Name")) is not None:
        kind += f" on {target}"
        if (alias := plan.get("Alias", target)) != target:
            kind += f" {alias}"
    elif "Alias" in plan:
        kind += f" on {plan['Alias']}"
    return f"{plan['Subplan Name']}: {kind}" if "Subplan Name" in plan else kind


def _figures(plan: Mapping[str, Any]) -> str:
    cost = f"cost {plan['Startup Cost']:.2f}..{plan['Total Cost']:.2f}, rows {plan['Plan Rows']:,}"
    if "Actual Loops" not in plan:
        return cost
    loops = plan["Actual Loops"]
    if not loops:
        return f"{cost}; never executed"
    times = f" x {loops:,}" if loops > 1 else ""
    return f"{cost}; took {plan['Actual Total Time']:.3f} ms, rows {plan['Actual Rows']:,g}{times}"


def _blocks(plan: Mapping[str, Any]) -> str:
    labels = {"hit": "Shared Hit Blocks", "read": "Shared Read Blocks", "dirtied": "Shared Dirtied Blocks"}
    return ", ".join(f"{plan[key]:,} {label}" for label, key in labels.items() if plan.get(key))
