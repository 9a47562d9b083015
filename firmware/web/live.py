"""Server-sent events: the state once a second, made once for all streams, and each event as it happens."""

import json
import time

from micropython import const

from firmware import image as im
from firmware import reasons
from firmware.event_codes import Event
from firmware.events import QUEUE, Cursor
from firmware.web import jsontext, state

_TOGETHER = const(6)  # pieces
_HELLO = const("retry: 3000\n\n")


def event(pm, cursor: Cursor) -> dict:
    """The event that a cursor is at."""
    name = Event.name(cursor.event)
    data = reasons.event_data(cursor.event, cursor.data, pm.image.banks)
    ago_s = pm.image.now[im.UPTIME_S] - cursor.at_s
    return {
        "n": (cursor.at - 1) & 0x3FFFFFFF, "t": cursor.at_s, "name": name, "data": data, "text": "%s %s" % (name, data),
        "local": state.clock_text(pm.clock, ago_s),
    }  # fmt: skip


def last_events(pm, count: int):
    """The last ones, oldest first."""
    total = pm.events.total
    cursor = Cursor((total - min(total, count, QUEUE)) & 0x3FFFFFFF)
    while pm.events.next(cursor):
        yield event(pm, cursor)


class Live:
    """What all streams get."""

    def __init__(self, app) -> None:
        self._app = app
        self._text = ""  # the state as it was last made
        self._number = 0

    def making(self):
        """Make the state anew, piece by piece."""
        pieces = []
        for count, piece in enumerate(jsontext.members(state.brief(self._app))):
            pieces.append(piece)
            if count % _TOGETHER == 0:
                yield
        self._text = "event: state\ndata: %s\n\n" % "".join(pieces)
        self._number += 1

    def stream(self, logins, session, public: bool):
        """The pieces of one stream; it ends with its login, where nothing is public."""
        pm = self._app.pm
        cursor = Cursor(pm.events.total)
        seen = self._number - 1 if self._text else self._number
        yield _HELLO
        while True:
            if session is not None and not logins.lives(session, time.ticks_ms()):
                yield 'event: session\ndata: {"role": "%s"}\n\n' % ("view" if public else "none")
                session = None
                if not public:
                    return
            lost = cursor.lost
            if pm.events.next(cursor):
                told = event(pm, cursor)
                if cursor.lost != lost:
                    told["lost"] = cursor.lost - lost
                yield "event: journal\ndata: %s\n\n" % json.dumps(told)
            elif seen != self._number:
                seen = self._number
                yield self._text
            else:
                yield None
