"""Conditions between the wire and the query: `jaeger.expression.v1` and its plain counterpart."""

from __future__ import annotations

from ares_otel.api.jaeger.proto import expression_v1_pb2 as pb
from ares_otel.query.search.expression import (
    Attribute,
    Call,
    Expression,
    Field,
    Nested,
    Refused,
    Scalar,
    Values,
)


def call_from_proto(message: pb.Call) -> Call:
    """The call of a message. Protobuf reads no message that is nested deeper than 100.

    Raises:
        Refused: an argument is empty.
    """
    arguments = [_from_proto(each, f"argument {n} of {message.op!r}") for n, each in enumerate(message.args, 1)]
    return Call(message.op, tuple(arguments))


def call_to_proto(call: Call) -> pb.Call:
    """The other way round."""
    return pb.Call(op=call.op, args=[_to_proto(each) for each in call.args])


def _from_proto(message: pb.Expression, where: str) -> Expression:
    match message.WhichOneof("term"):
        case "attr":
            return Attribute(message.attr.key, message.attr.level)
        case "field":
            return Field(message.field.name, message.field.level)
        case "nested":
            return Nested(message.nested.level)
        case "scalar":
            return Scalar(message.scalar.value, message.scalar.type)
        case "list":
            return Values(tuple(message.list.values), message.list.type)
        case "call":
            return call_from_proto(message.call)
    raise Refused(f"query.filter: {where} is empty; make it one of attr, field, nested, scalar, list and call.")


def _to_proto(expression: Expression) -> pb.Expression:
    match expression:
        case Attribute(key, level):
            return pb.Expression(attr=pb.AttributeReference(key=key, level=level))
        case Field(name, level):
            return pb.Expression(field=pb.FieldReference(name=name, level=level))
        case Nested(level):
            return pb.Expression(nested=pb.NestedReference(level=level))
        case Scalar(value, type):
            return pb.Expression(scalar=pb.Scalar(value=value, type=type))
        case Values(values, type):
            return pb.Expression(list=pb.List(values=values, type=type))
        case Call():
            return pb.Expression(call=call_to_proto(expression))
