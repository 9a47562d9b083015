"""The site file for the page: shown without its secrets, checked by the board's own rules, stored for the next start."""

import json

from httpd.answer import Refused
from micropython import const
from rows import each

from firmware import config, loading
from firmware.errors import ConfigError

_HIDDEN = const("****")


class Siting:
    """One change at a time: `job` is worked on by the service, a step in its turn, whoever goes away meanwhile."""

    def __init__(self, app) -> None:
        self._app = app
        self.job = None  # a generator
        self.errors: list = []  # of the last one

    def shown(self):
        """A generator of text: the site file as it is for the next start, and the fields of its power section.  Refused, at once,
        where it cannot be read."""
        return self._telling(_hidden(self._read(), self._app.site.secrets))

    def _telling(self, site):
        yield '{"site": {'
        before = ""
        for key in site:
            yield '%s"%s": %s' % (before, key, json.dumps(site[key]))
            before = ", "
        yield '}, "fields": ['
        before = ""
        for row in each(config.FIELDS):
            yield before + json.dumps(list(row))
            before = ", "
        yield "]}"

    def _read(self) -> dict:
        """What stands in the file; it holds the heap for as long as it is needed."""
        try:
            with open(self._app.path) as file:
                content = json.load(file)
        except (OSError, ValueError) as error:
            raise Refused(409, "the site file cannot be read: %s" % error)
        content.pop("crc", None)
        return content

    def working(self, body, store: bool):
        """A generator that has a site checked, and stored, and returns what is wrong with it."""
        if not isinstance(body, dict) or not isinstance(body.get("site"), dict):
            raise Refused(400, "site: must be an object")
        content = _revealed(body["site"], self._read(), "site")
        content.pop("crc", None)
        return (yield from self._worked(self._saving(content) if store else self._checking(content)))

    def explaining(self, text: bytes):
        """A generator that returns where a text is no JSON."""
        return self._worked(self._reading(text))

    def _worked(self, job):
        if self.job is not None:
            raise Refused(409, "another one is being looked at", "Retry-After: 2\r\n")
        self.job = job
        while self.job is job:
            yield
        return self.errors

    def _reading(self, text: bytes):
        try:
            yield
            from strictjson import wrong

            why = wrong(text) or "nested too deeply"
        finally:
            loading.let_builders_go(self._app.kept())
        raise ConfigError(["the text is no JSON: " + why])

    def _saving(self, content: dict):
        yield from self._app.saving(content)

    def _checking(self, content: dict):
        errors = yield from loading.checking(content, self._app.kept())
        if errors:
            raise ConfigError(errors)

    def step(self) -> bool:
        """One step of the job, in its turn; False when it is done."""
        try:
            next(self.job)
            return True
        except StopIteration:
            self.errors = []
        except ConfigError as error:
            self.errors = error.errors
        except Exception as error:
            self.errors = ["%s: %s" % (type(error).__name__, error)]
        self.job = None
        return False


def _hidden(value, secrets):
    """The same, with stars where a secret stands."""
    if isinstance(value, dict):
        return {key: _HIDDEN if _is_secret(key, value[key]) else _hidden(value[key], secrets) for key in value}
    if isinstance(value, list):
        return [_hidden(each_one, secrets) for each_one in value]
    return _HIDDEN if isinstance(value, str) and value in secrets else value


def _is_secret(key: str, value) -> bool:
    """By its name: what is for the next start is not among the secrets that are in force."""
    return isinstance(value, str) and value != "" and ("password" in key or "token" in key or "secret" in key)


def _revealed(value, before, where: str):
    """The same, with what stood there before where there are stars.  Refused where nothing did: they are no password."""
    if isinstance(value, dict):
        there = before if isinstance(before, dict) else {}
        return {key: _revealed(value[key], there.get(key), "%s.%s" % (where, key)) for key in value}
    if isinstance(value, list):
        there = before if isinstance(before, list) else []
        return [_revealed(one, there[i] if i < len(there) else None, where) for i, one in enumerate(value)]
    if value == _HIDDEN and not isinstance(before, str):
        raise Refused(400, '%s = "****": nothing stood there before; write it out' % where)
    return before if value == _HIDDEN else value
