"""The terms that a network was trained for. They travel with the model file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from termac.errors import ModelError
from termac.terms.bounds import reason_against
from termac.terms.digits import LARGEST
from termac.terms.terms import Terms

__all__ = ["PROPERTY", "TermBudget", "read_budgets", "write_budgets"]

PROPERTY = "termac.terms"
"""Key of the model file's metadata."""


@dataclass(frozen=True)
class TermBudget:
    """Terms of one layer, and the integers that its weights are.

    Parameters
    ----------
    peaks : largest magnitude in every filter, 0..255: it gives away the filter's scale
    group : neighbouring input channels of one tap that share a budget, 0 without a budget
    terms : the budget, None if all terms stay
    """

    peaks: tuple[int, ...]
    group: int = 0
    terms: Terms | None = None


def write_budgets(budgets: Mapping[str, TermBudget]) -> str:
    """Budgets by layer as JSON, the same text for equal budgets."""
    values = {}
    for name, budget in budgets.items():
        values[name] = {"group": budget.group, "peaks": list(budget.peaks), "terms": None}
        if budget.terms is not None:
            values[name]["terms"] = {
                "weights": budget.terms.weights,
                "exponents": list(budget.terms.exponents),
                "data": budget.terms.data,
                "encoding": budget.terms.encoding,
            }
    return json.dumps(values, separators=(",", ":"), sort_keys=True)


def read_budgets(
    properties: Mapping[str, str], filters: Mapping[str, int]
) -> dict[str, TermBudget]:
    """Budgets in a model file's metadata, empty if it has none.

    ``filters``: output channels by layer.

    Raises
    ------
    ModelError
        If they are damaged, or do not belong to the network.
    """
    if PROPERTY not in properties:
        return {}
    try:
        values = json.loads(properties[PROPERTY])
        found = {str(name): _budget(value) for name, value in values.items()}
    except (
        *(ValueError, TypeError, KeyError, IndexError),
        *(AttributeError, OverflowError, RecursionError),
    ):
        raise ModelError(
            f"metadata {PROPERTY!r} of the model is damaged; remove it or train again"
        ) from None
    for name, budget in found.items():
        if filters.get(name) != len(budget.peaks):
            raise ModelError(
                f"metadata {PROPERTY!r} of the model describes a layer {name!r} of "
                f"{len(budget.peaks)} filters, which it does not have; remove the entry or train "
                "again"
            )
    return found


def _budget(value: Mapping) -> TermBudget:
    """Inverse of what :func:`write_budgets` writes of a layer. Raises ValueError and others."""
    peaks, group, given = tuple(map(int, value["peaks"])), int(value["group"]), value["terms"]
    if not all(0 <= peak <= LARGEST for peak in peaks) or group < 0:
        raise ValueError
    if given is None:
        return TermBudget(peaks, group)
    terms = Terms(
        weights=int(given["weights"]),
        exponents=tuple(map(int, given["exponents"])),
        data=int(given["data"]),
        encoding=str(given["encoding"]),
    )
    if reason_against(terms) or not group:
        raise ValueError
    return TermBudget(peaks, group, terms)
