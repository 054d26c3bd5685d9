"""The functions in the conditions of a template.

AWS: a condition may compare texts that Fn::Join, Fn::Select, Fn::Split, Fn::Sub and Fn::FindInMap compose.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference-conditions.html
MiniStack: a condition may compare only parameters and elements of a list.
Here: these functions are resolved before the conditions are evaluated.
"""

import functools
from collections.abc import Callable
from typing import Any

_FUNCTIONS = {"Fn::Join", "Fn::Select", "Fn::Split", "Fn::Sub", "Fn::FindInMap"}


def patch() -> None:
    """Resolve the functions in conditions."""
    from ministack.services.cloudformation import changesets, engine, handlers, stacks

    evaluate = engine._evaluate_conditions

    @functools.wraps(evaluate)
    def resolve_and_evaluate(template: dict[str, Any], params: dict[str, Any]) -> dict[str, bool]:
        def resolve(value: dict[str, Any]) -> Any:
            return engine._resolve_refs(value, {}, params, {}, template.get("Mappings", {}), "", "")

        conditions = _replaced(template.get("Conditions", {}), resolve)
        evaluated: dict[str, bool] = evaluate({**template, "Conditions": conditions}, params)
        return evaluated

    engine._evaluate_conditions = resolve_and_evaluate
    # These modules imported the function by its name.
    changesets._evaluate_conditions = resolve_and_evaluate
    handlers._evaluate_conditions = resolve_and_evaluate
    stacks._evaluate_conditions = resolve_and_evaluate


def _replaced(node: Any, resolve: Callable[[dict[str, Any]], Any]) -> Any:
    """Return a part of a template with its functions resolved."""
    if isinstance(node, list):
        return [_replaced(item, resolve) for item in node]
    if not isinstance(node, dict):
        return node
    if node.keys() & _FUNCTIONS:
        return resolve(node)
    return {key: _replaced(item, resolve) for key, item in node.items()}
