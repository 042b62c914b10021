"""The PromQL expressions of the rules and the dashboard: variable substitution, selectors and metric names."""

import itertools
import re
from collections.abc import Iterator, Mapping

import promql_parser

from tests.monitoring.files import panels, rules
from tests.monitoring.stage import NAMESPACE, SCALED_OBJECT, TRIGGERS

__all__ = ["dashboard_queries", "metric_names", "rule_expressions", "selectors", "substitute", "variables_for"]


def dashboard_queries() -> dict[str, str]:
    """Return each query of the dashboard by panel title and letter. Variables are not substituted."""
    return {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels() for target in panel["targets"]}


def rule_expressions() -> dict[str, str]:
    """Return the expression of each rule by the rule's name."""
    return {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules()}


def variables_for(function: str) -> dict[str, str]:
    """Return the variables that Grafana substitutes when this function's trigger is selected."""
    return {
        "namespace": NAMESPACE,
        "scaledobject": SCALED_OBJECT,
        "trigger": TRIGGERS[function],
        "function": function,
        "__rate_interval": "10s",
    }


def substitute(expression: str, variables: Mapping[str, str]) -> str:
    """Return the expression with its variables substituted. Raises KeyError for an unknown variable."""
    return re.sub(r"\$(\w*[a-z_]\w*)", lambda found: variables[found[1]], expression)


def metric_names(expression: str) -> set[str]:
    """Return the names of the metrics that an expression reads."""
    return {selector.partition("{")[0] for selector in selectors(expression)}


def selectors(expression: str) -> Iterator[str]:
    """Yield the vector selectors of an expression, without ranges and offsets."""
    return _selectors(promql_parser.parse(expression))


def _selectors(node: object) -> Iterator[str]:
    if isinstance(node, promql_parser.VectorSelector):
        yield _without_offset(node)
    elif isinstance(node, promql_parser.MatrixSelector):
        yield _without_offset(node.vector_selector)
    else:
        children = (getattr(node, name, None) for name in ("expr", "lhs", "rhs", "args", "param"))
        lists = (child if isinstance(child, list) else [child] for child in children)
        for child in itertools.chain.from_iterable(lists):
            if child is not None:
                yield from _selectors(child)


def _without_offset(selector: promql_parser.VectorSelector) -> str:
    return re.sub(r"\s+(offset|@).*$", "", selector.prettify().strip(), flags=re.DOTALL)
