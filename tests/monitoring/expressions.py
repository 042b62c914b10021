"""The expressions of rules and dashboard: with their variables filled in, and what they are made of."""

import itertools
import re
from collections.abc import Iterator, Mapping

import promql_parser

from tests.monitoring.files import panels, rules
from tests.monitoring.stage import NAMESPACE, SCALED_OBJECT, TRIGGERS

__all__ = ["filled_in", "metric_names", "of_dashboard", "of_rules", "selectors", "variables_of"]


def of_dashboard() -> dict[str, str]:
    """Each query of the dashboard, by the title of its panel and its letter; variables are still in it."""
    return {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels() for target in panel["targets"]}


def of_rules() -> dict[str, str]:
    """Each expression of the rules, by the rule's name."""
    return {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules()}


def variables_of(function: str) -> dict[str, str]:
    """What Grafana fills in when a reader looks at this function's trigger."""
    return {
        "namespace": NAMESPACE,
        "scaledobject": SCALED_OBJECT,
        "trigger": TRIGGERS[function],
        "function": function,
        "__rate_interval": "10s",
    }


def filled_in(expression: str, variables: Mapping[str, str]) -> str:
    """An expression with its variables filled in. KeyError for one that the dashboard does not have."""
    return re.sub(r"\$(\w*[a-z_]\w*)", lambda found: variables[found[1]], expression)


def metric_names(expression: str) -> set[str]:
    """The metrics that an expression reads."""
    return {selector.partition("{")[0] for selector in selectors(expression)}


def selectors(expression: str) -> Iterator[str]:
    """The vector selectors of an expression, without ranges and offsets."""
    return _selectors(promql_parser.parse(expression))


def _selectors(node: object) -> Iterator[str]:
    if isinstance(node, promql_parser.VectorSelector):
        yield _without_offset(node)
    elif isinstance(node, promql_parser.MatrixSelector):
        yield _without_offset(node.vector_selector)
    else:
        children = (getattr(node, name, None) for name in ("expr", "lhs", "rhs", "args", "param"))
        listed = (child if isinstance(child, list) else [child] for child in children)
        for child in itertools.chain.from_iterable(listed):
            if child is not None:
                yield from _selectors(child)


def _without_offset(selector: promql_parser.VectorSelector) -> str:
    return re.sub(r"\s+(offset|@).*$", "", selector.prettify().strip(), flags=re.DOTALL)
