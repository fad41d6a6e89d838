"""The events of a file, their times and the watermark: what all expected results of Nexmark are worked out from."""

import json
from datetime import datetime, timedelta

OUT_OF_ORDER_MS = 4_000
EPOCH = datetime(1970, 1, 1)
KINDS = ("person", "auction", "bid")


class BadRecord(Exception):
    """A line that is no event."""


def time_ms(text, minutes={}):
    """Milliseconds since 1970 of a TIMESTAMP(3). The minutes met so far are remembered: a stream has few."""
    minute, second, fraction = text[:16], text[16:19], text[19:]
    if minute not in minutes:
        minutes[minute] = (datetime.fromisoformat(minute) - EPOCH) // timedelta(milliseconds=1)
    if second[0] != ":" or (fraction and (fraction[0] != "." or not fraction[1:].isdigit())):
        raise ValueError(text)
    return minutes[minute] + int(second[1:]) * 1000 + int(fraction[1:4].ljust(3, "0"))


def time_text(ms):
    """A TIMESTAMP(3) as Flink writes it: no zone, no trailing zeros in the fraction."""
    seconds, fraction = divmod(ms, 1000)
    text = (EPOCH + timedelta(seconds=seconds)).isoformat()
    return f"{text}.{fraction:03}".rstrip("0") if fraction else text


class Events:
    """The events of a file in order: the kind, the fields and the event time of each."""

    def __init__(self, path):
        self.path = path
        self.bad = 0

    def __iter__(self):
        self.bad = 0
        with open(self.path, "rb") as lines:
            for line in lines:
                if not line.strip():
                    continue
                try:
                    yield self.event(json.loads(line))
                except (BadRecord, ValueError, TypeError, IndexError, KeyError, AttributeError):
                    self.bad += 1

    @staticmethod
    def event(record):
        kind = KINDS[record["event_type"]]
        fields = record.get(kind)
        if not isinstance(fields, dict):
            if any(isinstance(record.get(name), dict) for name in KINDS):
                raise BadRecord
            fields = record
        return kind, fields, time_ms(fields["dateTime"])


def bids(events):
    """The fields and the event time of each bid."""
    for kind, fields, at_ms in events:
        if kind == "bid":
            yield fields, at_ms


def bids_and_watermarks(events):
    """The bids (fields, event time, None) and, wherever it moves, the watermark (None, None, watermark). It follows the
    event that moves it, of whatever kind: none makes itself late."""
    watermark_ms = None
    for kind, fields, at_ms in events:
        if kind == "bid":
            yield fields, at_ms, None
        if watermark_ms is None or at_ms - OUT_OF_ORDER_MS > watermark_ms:
            watermark_ms = at_ms - OUT_OF_ORDER_MS
            yield None, None, watermark_ms


def row_of(bid, at_ms, columns):
    """The named columns of a bid, its time as it is written."""
    return tuple(time_text(at_ms) if name == "dateTime" else bid.get(name) for name in columns)
