"""Conditions on fields, or on rows of a table, as text: `condition == 'EGF' and batch != '2'`.

Read by Python's own parser and judged by the few kinds of node listed here; anything else (a call, an attribute, an index)
is refused before a row is looked at, so nothing that a user or a script writes there is ever executed.

A column is text. Compared with a number it is read as one: an empty cell satisfies nothing but `!=`, and other text is an
error that names the field. Two columns are equal as texts, and more or less than each other as numbers. `in` takes a list of
values, or looks for a text in a column; `column in ('1')`, a list without its comma, would be a search in the text and is refused.

A table's null is no value: whether a comparison with it holds is not known (None), as in SQL, nor is its contrary, and only what is
known to hold is chosen. `samples.csv` has no nulls, but empty texts.
"""

import ast
import operator
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smlmbatch.errors import ConfigError

Value = str | int | float | None
_LONGEST = 2000  # characters; deeper nesting than fits in here would end in Python's recursion limit
_WANTED = "columns, texts and numbers compared by == != < <= > >= in, not in, joined by and, or, not"
_ORDERS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Where:
    """A condition that was read and found in order; `holds` judges one row by it."""

    text: str
    tree: ast.expr

    @property
    def columns(self) -> frozenset[str]:
        """The columns it names."""
        return frozenset(node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name))

    def holds(self, row: Mapping[str, Value], name: str) -> bool:
        """Whether a row (column → value, None = null) satisfies the condition; `name` is what an error calls it.

        Raises
        ------
        ConfigError
            a text that is no number is compared with a number
        """
        return _judge(self.tree, row, f"--where {self.text!r}: {name}") is True


def read_where(text: str, columns: Sequence[str]) -> Where:
    """Read a condition.

    Parameters
    ----------
    columns : the names it may use

    Raises
    ------
    ConfigError
        it is no such condition, or names an unknown column

    Examples
    --------
    >>> read_where("dose >= 5 and batch in ('1', '2')", ["dose", "batch"]).holds({"dose": "10", "batch": "2"}, "cell1")
    True
    """
    if len(text) > _LONGEST:
        raise ConfigError(f"--where: {len(text)} characters are too many; {_LONGEST} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in a text are the user's own business
            tree = ast.parse(text.strip(), mode="eval").body
        _check_condition(tree, frozenset(columns), text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise ConfigError(f"--where {text!r} can't be read ({reason}); wanted {_WANTED}") from None
    return Where(text, tree)


# ---- reading


def _check_condition(node: ast.expr, columns: frozenset[str], text: str) -> None:
    match node:
        case ast.BoolOp(values=parts):
            for part in parts:
                _check_condition(part, columns, text)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            _check_condition(part, columns, text)
        case ast.Compare(left=left, ops=orders, comparators=rest):
            for one, order, value in zip([left, *rest], orders, rest, strict=False):
                _check_value(one, columns, text)
                _check_comparison(one, order, value, columns, text)
        case _:
            _refuse(node, text)


def _check_comparison(left: ast.expr, order: ast.cmpop, value: ast.expr, columns: frozenset[str], text: str) -> None:
    if not isinstance(order, (*_ORDERS, ast.In, ast.NotIn)):
        _refuse(value, text)
    if isinstance(order, (ast.In, ast.NotIn)) and isinstance(value, ast.Tuple | ast.List | ast.Set):
        for item in value.elts:
            _check_value(item, columns, text)
        return
    _check_value(value, columns, text)
    if isinstance(order, (ast.In, ast.NotIn)):
        _check_search(left, value, text)


def _check_search(left: ast.expr, value: ast.expr, text: str) -> None:
    """Only a text in a column: the cell of a column on the left may be empty, and every text holds that."""
    match left, value:
        case ast.Constant(value=str()), ast.Name():
            return
        case ast.Name(), ast.Constant():
            wanted = f"write ({ast.unparse(value)},) for a list"
        case _:
            wanted = "wanted a list of values on the right, or 'text' in column"
    raise ConfigError(f"--where {text!r}: {ast.unparse(left)} in {ast.unparse(value)} is no list: {wanted}")


def _check_value(node: ast.expr, columns: frozenset[str], text: str) -> None:
    match node:
        case ast.Name(id=name):
            if name not in columns:
                raise ConfigError(f"--where {text!r}: no column {name!r}; known are {', '.join(sorted(columns))}. Texts stand in quotes")
        case ast.Constant(value=str()) | ast.Constant(value=float()):
            return
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            return
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=int() | float() as number)) if not isinstance(number, bool):
            return
        case _:
            _refuse(node, text)


def _refuse(node: ast.expr, text: str) -> None:
    raise ConfigError(f"--where {text!r}: {ast.unparse(node)!r} has no place there; wanted {_WANTED}")


# ---- judging


def _judge(node: ast.expr, row: Mapping[str, Value], where: str) -> bool | None:
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            return _first(False, (_judge(part, row, where) for part in parts))
        case ast.BoolOp(values=parts):
            return _first(True, (_judge(part, row, where) for part in parts))
        case ast.UnaryOp(operand=part):
            found = _judge(part, row, where)
            return None if found is None else not found
        case ast.Compare(left=left, ops=orders, comparators=rest):
            pairs = zip([left, *rest], orders, rest, strict=False)
            return _first(False, (_compare(one, order, other, row, where) for one, order, other in pairs))
    raise AssertionError(f"{ast.unparse(node)!r} was let through")


def _first(decisive: bool, parts: Iterable[bool | None]) -> bool | None:
    """`decisive` if one of the parts is (False for `and`, True for `or`), else None if one isn't known, else the contrary."""
    unknown = False
    for part in parts:
        if part is decisive:
            return decisive
        unknown |= part is None
    return None if unknown else not decisive


def _compare(one: ast.expr, order: ast.cmpop, other: ast.expr, row: Mapping[str, Value], where: str) -> bool | None:
    left = _value(one, row)
    if left is None:
        return None
    if not isinstance(order, ast.In | ast.NotIn):
        right = _value(other, row)
        if right is None:
            return None
        if isinstance(one, ast.Name) and isinstance(other, ast.Name) and not isinstance(order, ast.Eq | ast.NotEq):
            return "" not in (left, right) and _ORDERS[type(order)](_number(left, where), _number(right, where))
        return _ordered(left, order, right, where)
    found = _is_in(left, other, row, where)
    return None if found is None else found is isinstance(order, ast.In)


def _is_in(left: str | float, other: ast.expr, row: Mapping[str, Value], where: str) -> bool | None:
    if isinstance(other, ast.Tuple | ast.List | ast.Set):
        items = (_value(item, row) for item in other.elts)
        return _first(True, (None if item is None else _ordered(left, ast.Eq(), item, where) for item in items))
    right = _value(other, row)
    return None if right is None else str(left) in str(right)


def _ordered(left: str | float, order: ast.cmpop, right: str | float, where: str) -> bool:
    if isinstance(left, str) != isinstance(right, str):
        if "" in (left, right):
            return isinstance(order, ast.NotEq)
        left, right = _number(left, where), _number(right, where)
    return _ORDERS[type(order)](left, right)


def _number(value: str | float, where: str) -> float:
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ConfigError(f"{where} has {value!r}, which is no number, where one is compared") from None


def _value(node: ast.expr, row: Mapping[str, Value]) -> Value:
    match node:
        case ast.Name(id=name):
            return row[name]
        case ast.Constant(value=value):
            return value  # type: ignore[return-value]  # str, int or float, as checked
        case ast.UnaryOp(op=sign, operand=ast.Constant(value=value)):
            return -value if isinstance(sign, ast.USub) else value  # type: ignore[operator, return-value]
    raise AssertionError(f"{ast.unparse(node)!r} was let through")
