"""What the web server answers: one table of paths and who may ask for them; docs/web.md says what they mean."""

import json
import time

import startup
from httpd.answer import Answer, Refused
from httpd.files import Files
from marks import wrong
from micropython import const

from firmware.errors import ConfigError, PowerError
from firmware.generation import STAMP
from firmware.services.lines import NAMES, OPERATE, SERVICE, VIEW
from firmware.web import jsontext, live, state
from firmware.web.commanding import Commanding
from firmware.web.live import Live
from firmware.web.logins import NONE, Logins

_HEADERS = const("X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n")
_OF_PAGES = const(
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
)
_FRESH = const("Cache-Control: no-store\r\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n")
_FOLDER = const("www")
# method, path, least role, bytes of a body, whether the login's second secret must come with it, what answers
_TABLE = (
    ("GET", "/api/session", NONE, 0, False, "session"),
    ("GET", "/api/state", VIEW, 0, False, "whole"),
    ("GET", "/api/live", VIEW, 0, False, "stream"),
    ("GET", "/api/events", VIEW, 0, False, "events"),
    ("GET", "/api/journal", VIEW, 0, False, "journal"),
    ("GET", "/api/schedules", VIEW, 0, False, "schedules"),
    ("GET", "/api/history", VIEW, 0, False, "history"),
    ("GET", "/api/config", SERVICE, 0, False, "config"),
    ("GET", "/metrics", VIEW, 0, False, "metrics"),
    ("POST", "/api/login", NONE, 256, False, "login"),
    ("POST", "/api/logout", NONE, 256, True, "logout"),
    ("POST", "/api/command", OPERATE, 1024, True, "command"),
    ("POST", "/api/schedules", OPERATE, 6144, True, "replace"),
    ("POST", "/api/schedules/preview", VIEW, 6144, True, "preview"),
    ("POST", "/api/config/check", SERVICE, 16384, True, "check"),
    ("POST", "/api/config", SERVICE, 16384, True, "save"),
)
_ANY_BODY = const(1024)
_JOURNAL_MOST = const(500)
_LOCAL = const(" local lan home internal arpa localdomain ")  # last parts of names that nobody can register


class Pages:
    """The handler of httpd.server."""

    HEADERS = _HEADERS  # of every answer

    def __init__(self, app, options: dict) -> None:
        self._app = app
        self._pm = app.pm
        self._public = options["public"] == "view"
        self._streams = options["streams"]
        self._metrics = options["metrics"]
        self._secure = "; Secure" if options["tls"] else ""
        self._names = options["names"].lower().split()
        self.server = None
        self.commanding = Commanding(app, options["commands_per_min"])
        self.logins = Logins(app.services["console"].lines, options["session_min"], self._note_login)
        self.live = Live(app)
        self._planning = self._siting = None  # loaded for the first person who asks: many a page is only looked at
        self._files = Files(startup.folder + _FOLDER, STAMP)
        self._json = jsontext.members

    def _note_login(self, who: str, accepted: bool) -> None:
        self.commanding.note(who, accepted, "login", 0)

    @property
    def planning(self):
        """The schedule for the page."""
        if self._planning is None:
            from firmware.web.planning import Planning  # see __init__

            self._planning = Planning(self._pm)
        return self._planning

    @property
    def siting(self):
        """The site file for the page."""
        if self._siting is None:
            from firmware.web.siting import Siting  # see __init__

            self._siting = Siting(self._app)
        return self._siting

    def job(self):
        """The Siting that has something to do, else None: asking loads nothing."""
        return None if self._siting is None or self._siting.job is None else self._siting

    # ---- the handler ----------------------------------------------------------------------------------------

    def longest(self, request) -> int:
        """Bytes of a body.  Refused where it is a long one of who may not: nobody else has the heap keep it."""
        for row in _TABLE:
            if row[0] == request.method and row[1] == request.path:
                if row[3] > _ANY_BODY:
                    self._admit(request, row)
                return row[3]
        return _ANY_BODY  # it is told then that the path or the method is wrong

    def refusal(self, error: Refused) -> Answer:
        """A refusal in words."""
        told = {"error": error.words}
        told.update(getattr(error, "told", {}))
        return Answer(json.dumps(told), error.status, more=error.more + _FRESH)

    def answer(self, request):
        """To whom may ask."""
        method = "GET" if request.method == "HEAD" else request.method
        row = self._row(method, request.path)
        if row is None:
            found = self._files.answer(request)
            found.more += _OF_PAGES
            return found
        session = self._admit(request, row)
        found = getattr(self, row[5])(request, session)
        if session is not None and isinstance(found, Answer):
            found.known = True
        return found

    def _admit(self, request, row):
        """Whose request that is, None: nobody's who has logged in.  Refused where he may not."""
        method, path, role, _, sealed, _ = row
        self._look_at_host(request)
        session = self.logins.of(request, time.ticks_ms())
        has = session.role if session is not None else VIEW if self._public else NONE
        if method == "POST":
            self._look_at_origin(request)
        if has < role:
            if session is None:
                raise _refused(401, "%s needs a login with the role %s" % (path, NAMES[role]), role=NAMES[role])
            raise Refused(403, "%s needs the role %s, yours is %s" % (path, NAMES[role], NAMES[has]))
        if sealed and session is not None and request.headers.get("x-csrf") != session.csrf:
            raise Refused(403, "the header X-CSRF is missing, or not that of this login")
        return session

    def _row(self, method: str, path: str):
        """The table's; None: the path may be a file's."""
        allowed = [row[0] for row in _TABLE if row[1] == path]
        for row in _TABLE:
            if row[0] == method and row[1] == path:
                return row
        if allowed or method != "GET":
            allowed = allowed or ["GET"]
            raise Refused(405, "%s: allowed here are %s" % (method, ", ".join(allowed)), "Allow: %s\r\n" % ", ".join(allowed))
        if path[:5] == "/api/":
            raise Refused(404, "there is no such path")
        return None

    def _look_at_host(self, request) -> None:
        """Who has a name of his own say our address has a browser take his page for ours; a certificate has other names only."""
        host = request.headers.get("host", "").lower()
        name = host.split(":")[0]
        last = name[name.rfind(".") + 1 :]
        if self._secure or last == name or last.isdigit() or " %s " % last in _LOCAL or name in self._names:
            return
        words = "Host = %.60s: is no name of this board; ask by its address, or put the name into the option names of web"
        raise Refused(403, words % host)

    def _look_at_origin(self, request) -> None:
        """A page of somebody else must not have a browser do anything here."""
        headers = request.headers
        kind = headers.get("content-type", "")
        if kind.split(";")[0].strip() != "application/json":
            raise Refused(415, "Content-Type = %.40s: must be application/json" % kind)
        origin = headers.get("origin")
        if origin is not None and origin.split("://")[-1] != headers.get("host"):
            raise Refused(403, "Origin = %.60s: is another page" % origin)

    # ---- who ------------------------------------------------------------------------------------------------

    def session(self, request, session, more: str = "") -> Answer:
        """Who somebody is, and who he may become."""
        now = time.ticks_ms()
        role = NAMES[session.role] if session is not None else NAMES[VIEW] if self._public else "none"
        told = {
            "role": role, "csrf": "" if session is None else session.csrf, "public": "view" if self._public else "none",
            "name": self._app.site.name, "logins": self.logins.names(), "wait_s": self.logins.wait_s(request.address, now),
            "left_s": None if session is None else self.logins.left_s(session, now), "firmware": STAMP,
        }  # fmt: skip
        return Answer(json.dumps(told), more=more + _FRESH)

    def login(self, request, before):
        """A generator: the arithmetic of a PIN takes a while."""
        body = _body(request)
        if not isinstance(body, dict):
            raise Refused(400, "a login is an object with role and pin")
        return self._logging_in(request, before, body)

    def _logging_in(self, request, before, body):
        session = yield from self.logins.login(request.address, body.get("role"), body.get("pin"), time.ticks_ms())
        if before is not None:
            self.logins.end(before)
        more = "Set-Cookie: session=%s; Path=/; HttpOnly; SameSite=Strict%s\r\n" % (session.token, self._secure)
        answer = self.session(request, session, more)
        answer.known = True
        return answer

    def logout(self, request, session) -> Answer:
        """No login any more."""
        if session is not None:
            self.logins.end(session)
        return self.session(request, None, "Set-Cookie: session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict\r\n")

    # ---- what only shows ------------------------------------------------------------------------------------

    def whole(self, _request, _session) -> Answer:
        """Everything at one instant."""
        records = self._app.services.get("records")
        energy = None if records is None else records.records.energy()
        seat = self.commanding.seat_report(time.ticks_ms())
        return self._told(state.whole(self._app, energy, seat))

    def _told(self, pairs) -> Answer:
        return Answer(self._json(pairs), more=_FRESH)

    def stream(self, _request, session) -> Answer:
        """The live stream."""
        if self.server.streams() >= self._streams:
            raise Refused(503, "all %d live streams are in use" % self._streams, "Retry-After: 5\r\n")
        pieces = self.live.stream(self.logins, session, self._public)
        return Answer(pieces, kind="text/event-stream", more=_FRESH, stream=True)

    def events(self, request, _session) -> Answer:
        """The last events."""
        count = _number(request.query, "count", 50, 1, 64)
        return self._told(iter((("events", live.last_events(self._pm, count)),)))

    def journal(self, request, _session) -> Answer:
        """The end of the records' log."""
        count = _number(request.query, "count", 100, 1, _JOURNAL_MOST)
        records = self._app.services.get("records")
        if records is None:
            raise Refused(404, "this site keeps no records")
        from firmware.web import journal  # see __init__

        return self._told(iter((("lines", journal.last(records.records, count, self._pm.image.banks)),)))

    def schedules(self, _request, _session) -> Answer:
        """The schedule."""
        return self._told(self.planning.shown())

    def history(self, request, _session) -> Answer:
        """What the service `history` remembers."""
        history = self._app.services.get("history")
        if history is None or not hasattr(history, "answer"):
            raise Refused(404, "this site keeps no history: no service of the type history")
        try:
            kind, pieces = history.answer(request.query)
        except (PowerError, ValueError) as error:
            raise Refused(400, str(error))
        more = 'Content-Disposition: attachment; filename="history.csv"\r\n' if kind[:8] == "text/csv" else ""
        return Answer(pieces, kind=kind, more=more + _FRESH)

    def metrics(self, _request, _session) -> Answer:
        """For Prometheus."""
        if not self._metrics:
            raise Refused(404, "metrics are switched off")
        from firmware import metrics  # whoever is asked for it loads it

        return Answer(metrics.pieces(self._app), kind="text/plain; version=0.0.4; charset=utf-8", more=_FRESH)

    def config(self, _request, _session) -> Answer:
        """The site file, without its secrets."""
        return Answer(self.siting.shown(), more=_FRESH)

    # ---- what changes something -----------------------------------------------------------------------------

    def command(self, request, session) -> Answer:
        """A command."""
        says = self.commanding.run(session, _body(request), time.ticks_ms())
        return Answer(json.dumps({"ok": True, "says": says}), more=_FRESH)

    def replace(self, request, session) -> Answer:
        """Another schedule."""
        try:
            self.planning.replace(_body(request))
        except (PowerError, ValueError) as error:
            self.commanding.note(session.who, False, "schedules", 0)
            raise _many(error)
        self.commanding.note(session.who, True, "schedules", len(self._pm.schedules()))
        return self.schedules(request, session)

    def preview(self, request, _session) -> Answer:
        """What a schedule would start."""
        try:
            return self._told(iter((("next", self.planning.preview(_body(request))),)))
        except (PowerError, ValueError) as error:
            raise _many(error)

    def check(self, request, session):
        """Whether a site would be taken."""
        return self._sited(request, session, False)

    def save(self, request, session):
        """Another site, from the next start on."""
        return self._sited(request, session, True)

    def _sited(self, request, session, store: bool):
        try:
            work = self.siting.working(_body(request), store)
        except Refused:
            work = self.siting.explaining(request.body)
        request.body = b""
        errors = yield from work
        if store:
            self.commanding.note(session.who, not errors, "site file", 0)
        if errors:
            raise _many(ConfigError(errors))
        told = {"ok": True}
        if store:
            told["says"] = "stored; it counts from the next start"
        return Answer(json.dumps(told), more=_FRESH)


def _refused(status: int, words: str, **told) -> Refused:
    """A refusal that says more."""
    error = Refused(status, words)
    error.told = told  # type: ignore[attr-defined]
    return error


def _many(error) -> Refused:
    """A refusal with everything that is wrong."""
    if isinstance(error, ConfigError):
        return _refused(400, str(error), errors=error.errors)
    return Refused(400, str(error))


def _body(request):
    """What the body says.  Refused where it is no JSON, or so deep that looking at it would take the whole stack."""
    try:
        found = json.loads(request.body.decode())
    except (ValueError, UnicodeError, RuntimeError):  # RuntimeError: too deep
        raise Refused(400, "the body is no JSON")
    why = wrong(request.body, found)
    if why and not (isinstance(found, dict) and found.get("do") == "emergency"):  # that one is done however it is written
        raise Refused(400, "the body is no JSON: " + why)
    return found


def _number(query: dict, name: str, default: int, low: int, high: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not text.isdigit() or len(text) > 6 or not low <= int(text) <= high:
        raise Refused(400, "%s = %.20s: allowed are %d to %d" % (name, text, low, high))
    return int(text)
