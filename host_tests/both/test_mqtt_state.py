"""What is published of a site: Home Assistant's one message, energies with where they come from, and a site file that cannot be."""

import asyncio
import json
import time

from rows import each

from firmware import image as im
from firmware.mqtt import discovery
from firmware.mqtt.energy import Energy
from firmware.services import mqtt
from host_tests.both.mqttbroker import Socket, message
from host_tests.both.plant import Plant

TOPICS = discovery.Topics("bess/home", "homeassistant", "bess_77")
ALL = 0x7FF
CLASSES = (  # that Home Assistant has for sensors, with the units of ours that it takes
    ("power", "kW"), ("voltage", "V"), ("current", "A"), ("temperature", "\u00b0C"), ("frequency", "Hz"), ("energy", "kWh"),
    ("energy_storage", "kWh"), ("battery", "%"), ("duration", "s"), ("duration", "min"),
)  # fmt: skip


def told(groups=ALL, control=True, banks=(), name="home"):
    """The message, and that it is the same when it is made again, and ASCII."""
    par = Plant().image.par

    def made():
        return b"".join(list(discovery.pieces(TOPICS, name, par, groups, control, banks)))

    message = made()
    assert message == made() and max(message) < 127
    return json.loads(message)


def test_every_point_that_people_see_is_a_component_with_its_class_and_unit():
    message = told()
    components = message["cmps"]
    stats = Plant().ready().pm.stats()
    for key, one in components.items():
        assert one["uniq_id"] == "bess_77_" + key and one["name"], key
        if "dev_cla" in one and one["p"] in ("sensor", "number"):
            assert (one["dev_cla"], one["unit_of_meas"]) in CLASSES, key
    for key in ("soc", "power", "grid_power", "pv_power", "limit_discharge", "why_charge", "mode", "cell_max", "temperature"):
        assert key in stats and key in components
    assert components["temperature"]["unit_of_meas"] == "\u00b0C"
    assert components["battery_charged"]["stat_cla"] == components["grid_import"]["stat_cla"] == "total_increasing"
    assert components["setpoint"]["min"] == -100 and components["setpoint"]["max"] == 100


def test_what_a_site_has_not_or_may_not_is_there_with_its_platform_alone():
    bare = told(groups=0x3F, control=False)["cmps"]
    for key in ("pv_power", "pv_energy", "grid_power", "grid_import", "setpoint", "lifetime", "start", "emergency", "asked"):
        assert list(bare[key]) == ["p"], key
    assert len(bare["soc"]) > 1 and set(bare) == set(told()["cmps"])


def test_several_batteries_are_shown_one_by_one_and_names_may_be_any():
    message = told(banks=["nord", 's\u00fcd "2"'], name="H\u00f6f\\")
    assert message["dev"]["name"] == "H\u00f6f\\"
    assert message["cmps"]["bank1_soc"]["name"] == 's\u00fcd "2" state of charge'
    par = Plant().image.par
    made = b"".join(list(discovery.pieces(TOPICS, "\U0001f50b", par, ALL, True, ())))
    assert b'"name":"\\ud83d\\udd0b"' in made, "MicroPython's own json does not put the halves together"
    assert "banks[1].soc" in message["cmps"]["bank1_soc"]["val_tpl"]


def test_commands_of_home_assistant_are_json_that_says_who_it_is():
    components = told()["cmps"]
    for key, value in (("setpoint", "5.5"), ("lifetime", "15"), ("asked", "hold")):
        template = components[key]["cmd_tpl"].replace("{{ value }}", value).replace("{{value}}", value)
        order = json.loads(template)
        assert order["by"] == "ha" and order["do"] in ("power", "lifetime", "mode")
    for key in ("start", "stop", "give_back", "emergency"):
        assert json.loads(components[key]["pl_prs"]) == {"do": key, "by": "ha"}


def counted(energy):
    return dict(energy.figures())


def test_what_the_grid_gives_is_integrated_and_what_is_too_old_is_not():
    plant = Plant().ready()
    energy = Energy(plant.image, {}, None)
    plant.load = 36000
    for _ in range(20):
        plant.cycles(2)
        energy.count(5000)
    found = counted(energy)
    assert abs(found["grid_import"] - 1) < 0.03 and found["grid_export"] == 0 and abs(found["load_energy"] - 1) < 0.03
    plant.silent.add(im.SEQ_METER)
    plant.cycles(70)
    before = counted(energy)["grid_import"]
    for _ in range(20):
        energy.count(1000)
    assert counted(energy)["grid_import"] == before


def test_a_history_knows_better():
    class History:
        def totals(self):
            return {"charged": 1500, "discharged": 900, "imported": 2000, "exported": 0, "pv": None, "load": 10}

    found = counted(Energy(Plant().image, {"memory": History(), "x": 5}, None))
    assert found["battery_charged"] == 1.5 and found["grid_import"] == 2 and found["pv_energy"] is None


def refused(**given):
    options = {row[0]: row[2] for row in each(mqtt.OPTIONS)}
    options["host"] = "broker"
    options.update(given)
    errors = []
    mqtt.check_options("services.mqtt", options, errors)
    return errors


def test_a_site_file_that_cannot_be_is_refused_in_words():
    assert refused() == [] and refused(topic="bess/home", user="me", password="x") == []
    for topic in ("/bess", "bess/", "a/+/b", "#", "$SYS/x", "with space", 'quote"', "h\u00f6f"):
        assert "must be ASCII" in refused(topic=topic)[0], topic
    assert "needs a user" in refused(password="secret")[0] and "secret" not in str(refused(password="secret"))


class Away(list):
    """No broker, and time that passes as fast as the service waits; holds what people read.  reasons: why, in turn."""

    def __init__(self, *reasons):
        super().__init__()
        self._reasons = reasons
        self.tries = []  # ms
        self.ms = 1000
        self.until = 601000
        self.ticks_diff = time.ticks_diff
        self.ticks_add = time.ticks_add

    def __enter__(self):
        self._before = mqtt.say, mqtt.connect, mqtt.time, mqtt.asyncio
        mqtt.say, mqtt.connect, mqtt.time, mqtt.asyncio = self.append, self._refuse, self, self
        return self

    def __exit__(self, *error):
        mqtt.say, mqtt.connect, mqtt.time, mqtt.asyncio = self._before

    def ticks_ms(self):
        return self.ms

    async def sleep_ms(self, ms):
        self.ms += ms
        if self.ms > self.until:
            raise Over()

    async def _refuse(self, host, port, deadline):
        self.tries.append(self.ms)
        raise OSError(self._reasons[len(self.tries) % len(self._reasons)])

    def play(self, one):
        """Ten minutes of it."""
        with self:
            try:
                asyncio.run(one.run())
            except Over:
                return


class Over(Exception):
    pass


class There(Away):
    """A broker, and somebody who commands five times a second, for ten seconds."""

    def __init__(self):
        super().__init__()
        self.until = 11000
        self.socket = Socket()
        self.asks = b'{"do": "lifetime", "minutes": 5}'
        self._next = 0

    async def _refuse(self, host, port, deadline):
        return self.socket

    async def sleep_ms(self, ms):
        await super().sleep_ms(ms)
        if self.ms >= self._next and self.socket.outgoing:
            self._next = self.ms + 200
            self.socket.incoming += message("bess/my_home/command", self.asks, 1)


class LoopTime:
    def take_turn(self):
        return True

    async def turn(self):
        pass


class App:
    """As far as the service looks at it."""

    def __init__(self):
        self.site = self.metering = self
        self.name = "my home"
        self.name_server = None
        self.secrets = ("wifi",)
        self.loop_time = LoopTime()
        self.services = {}
        self.names = {}


def service(plant, app, **given):
    options = {row[0]: row[2] for row in each(mqtt.OPTIONS)}
    options["host"] = "127.0.0.1"
    options.update(given)
    return mqtt.Service("mqtt", options, plant.pm, app)


def test_a_broker_that_is_away_is_tried_more_and_more_seldom_said_once_and_nothing_is_made_for_it():
    plant = Plant().ready()
    one = service(plant, App(), access="control")
    one.begin()
    away = Away("refused")
    away.play(one)
    assert away == ["mqtt: no connection to 127.0.0.1: refused"]
    waited = [later - earlier for earlier, later in zip(away.tries, away.tries[1:])]
    assert [ms // 1000 for ms in waited[:4]] == [1, 2, 4, 8] and 60000 <= waited[-1] < 62000
    found = one.counters()
    assert found["tries"] == len(away.tries) and found["waiting"] == found["states"] == 0 and not found["connected"]
    assert found["problem"] == "refused" and found["events_lost"] == 0


def test_one_that_is_away_for_another_reason_each_time_fills_no_log():
    one = service(Plant().ready(), App())
    one.begin()
    away = Away("refused", "no answer", "nonsense")
    away.play(one)
    assert len(away.tries) > 12 and len(away) <= len(away.tries)
    assert len([line for line in away if "and so on" in line]) == 1 and "and so on" in away[3]


def test_what_ends_while_the_broker_is_away_is_answered_when_it_is_there():
    plant = Plant().ready()
    one = service(plant, App(), access="control")
    one.begin()
    away = There()
    away.until = 3000
    away.asks = b'{"do": "power", "kw": 2, "minutes": 1}'
    away.play(one)
    assert one.counters()["accepted"] > 0
    one.client.waiting.clear()
    one.client.close()
    plant.run(61)
    gone = Away("refused")
    gone.ms, gone.until = 64000, 70000
    gone.play(one)
    assert [json.loads(payload) for _, topic, payload in one.client.waiting if topic.endswith("/answer")] == [
        {"do": "ended", "id": None, "ok": True, "says": "ended: the time of the setpoint is over"}
    ]


def test_an_event_that_a_full_heap_kept_from_being_promised_is_promised_next():
    one = service(Plant().ready(), App())
    one.begin()
    sent = []

    def short(topic, payload):
        if not topic.endswith("/event"):
            return
        sent.append(json.loads(payload)["n"])
        if len(sent) == 2:
            raise MemoryError("allocating 128 bytes")

    one.client.promise = short
    for _ in range(2):
        there = There()
        there.asks = b"{}"
        try:
            there.play(one)
        except MemoryError:
            one.client.close()
    assert len(sent) > 2 and sent[1] == sent[2] and sent[2:] == list(range(sent[2], sent[2] + len(sent) - 2)), sent


def test_a_command_that_is_too_long_is_answered_and_counted():
    one = service(Plant().ready(), App(), access="control")
    one.begin()
    there = There()
    there.until = 2000
    there.asks = b'{"do": "lifetime", "minutes": 5, "id": "%s"}' % (b"x" * 320)
    there.play(one)
    found = one.counters()
    assert found["too_long"] == found["refused"] > 0 and found["accepted"] == 0
    assert b"more than 320 bytes" in there.socket.outgoing


def test_a_service_that_is_off_does_nothing_and_a_password_is_a_secret():
    app = App()
    one = service(Plant(), app, access="off", user="me", password="hidden")
    away = Away("refused")
    away.play(one)
    assert away == away.tries == []
    assert app.secrets == ("wifi", "hidden")


def test_the_state_is_published_however_often_somebody_commands():
    one = service(Plant().ready(), App(), access="control", interval_s=2)
    one.begin()
    There().play(one)
    assert one.counters()["accepted"] > 30
    assert 5 <= one.counters()["states"] <= 12, "no less often than without, nor for each command"
