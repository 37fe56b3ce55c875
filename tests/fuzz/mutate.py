"""Seeded damage to bytes, JSON and protobuf: always the same for the same seed."""

import json
import random
from contextlib import suppress

__all__ = ["damaged_bytes", "damaged_json", "damaged_message"]

ODD = (None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, float("nan"), float("inf"), "",
       "x", "[/foo]", "\x1b[2J\n", "\ud800", "../x", [], {}, [[]], [None], {"": 0})  # fmt: skip
"""Values that no field expects."""


def damaged_bytes(data, rng):
    """Flip bits, cut, splice, repeat or fill some part."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        if not data:
            data = bytearray(b"\0")
        start = rng.randrange(len(data))
        length = rng.choice((1, 1, 2, 4, 8, 64))
        kind = rng.randrange(7)
        if kind < 3:
            data[start] ^= 1 << rng.randrange(8)
        elif kind == 3:
            del data[start : len(data) if rng.random() < 0.3 else start + length]
        elif kind == 4:
            data[start:start] = bytes(rng.randrange(256) for _ in range(length))
        elif kind == 5:
            other = rng.randrange(len(data))
            data[start : start + length] = data[other : other + length]
        else:
            data[start : start + length] = bytes([rng.choice((0, 0xFF, 0x7F, 0x80))]) * length
    return bytes(data)


def damaged_json(value, rng):
    """A copy of a JSON value in which something is replaced, removed, repeated or nested."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 4))):
        spots = list(_spots(value))
        if not spots:
            return rng.choice(ODD)
        parent, key = rng.choice(spots)
        kind = rng.randrange(6)
        if kind == 0 or not isinstance(parent[key], (list, dict)):
            parent[key] = _near(parent[key], rng)
        elif kind == 1:
            del parent[key]
        elif kind == 2:
            parent[key] = [parent[key]]
        elif kind == 3 and isinstance(parent[key], list):
            parent[key] = parent[key] * 2
        elif kind == 4 and isinstance(parent[key], list):
            rng.shuffle(parent[key])
        else:
            other, name = rng.choice(spots)
            parent[key] = json.loads(json.dumps(other[name]))
    return value


def _near(value, rng):
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.5:
        return value + rng.choice((-1, 1, 1 << rng.randrange(40), -(1 << rng.randrange(40))))
    return rng.choice(ODD)


def _spots(value):
    """(container, key) of every value inside."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _spots(value[key])


def damaged_message(message, rng: random.Random):
    """Change one field of a protobuf message, or of one inside it."""
    inner = list(_messages(message))
    for _ in range(rng.choice((1, 1, 2, 4))):
        one = rng.choice(inner)
        fields = one.ListFields()
        if not fields:
            continue
        field, value = rng.choice(fields)
        repeated = not isinstance(value, (str, bytes, int, float)) and not hasattr(
            value, "ListFields"
        )
        kind = rng.randrange(5)
        if kind == 0:
            one.ClearField(field.name)
        elif repeated and len(value):
            index = rng.randrange(len(value))
            if kind == 1:
                del value[index]
            elif isinstance(value[index], (str, bytes, int, float)):
                value[index] = _scalar(value[index], rng)
            elif kind == 2:
                value.add().CopyFrom(value[index])
        elif isinstance(value, (str, bytes, int, float)):
            with suppress(ValueError, TypeError):  # beyond what the field holds
                setattr(one, field.name, _scalar(value, rng))
        inner = list(_messages(message))


def _scalar(value, rng):
    if isinstance(value, str):
        return rng.choice(("", "x", "y", "w", "[/foo]", "\x1b[2J\n", value[:-1], value + "_"))
    if isinstance(value, bytes):
        return damaged_bytes(value, rng)
    if isinstance(value, float):
        return rng.choice((0.0, -1.0, 1e30, float("nan"), float("inf")))
    return rng.choice((0, 1, 2, 3, 7, 16, value + 1, max(0, value - 1), 100, 2000, 2**20))


def _messages(message):
    yield message
    for _, value in message.ListFields():
        parts = [value] if hasattr(value, "ListFields") else value
        if isinstance(value, (str, bytes, int, float)):
            continue
        for part in parts:
            if hasattr(part, "ListFields"):
                yield from _messages(part)
