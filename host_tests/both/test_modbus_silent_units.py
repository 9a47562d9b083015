"""Units behind one TCP gateway, which asks one at a time: whoever does not answer costs the others little."""

from array import array

from firmware.devices.modbus_unit import ModbusUnit
from host_tests.both.fakegateway import Gateway
from host_tests.both.virtual import Virtual
from modbus import ModbusError, client, silent, tcp_client
from modbus.tcp_client import TcpClient

T = 500  # the client's timeout_ms
LIVES, DEAD = 1, 2


class Asker:
    """A driver that reads register 0 of a unit every period; `missed`: how often in vain, `longest`: ms without an answer."""

    def __init__(self, life, one, unit, period_ms=100):
        self.unit = ModbusUnit(one, unit)
        self.life = life
        self.good = 0
        self.forget()
        self._period_ms = period_ms
        life.start("", self.run())

    def forget(self):
        """Begin to measure now."""
        self.heard = self.life.us
        self.longest = 0
        self.missed = 0

    async def run(self):
        out = array("H", (0,))
        while True:
            try:
                await self.unit.read(0, 1, out)
                assert out[0] == self.unit.number
                self.good += 1
                self.longest = max(self.longest, (self.life.us - self.heard) // 1000)
                self.heard = self.life.us
            except ModbusError:
                self.missed += 1
            await client.asyncio.sleep_ms(self._period_ms)


class Site:
    """A client of the gateway and what asks over it."""

    def __init__(self, life, gateway, *units):
        self.life = life
        self.gateway = gateway
        self.client = TcpClient("10.0.0.9", timeout_ms=T)
        self.askers = [Asker(life, self.client, unit) for unit in units]
        self.run(3000)

    def run(self, ms):
        self.life.run(ms)

    def dies(self, unit=DEAD):
        self.gateway.dead.add(unit)
        for one in self.askers:
            one.forget()
        self.gateway.asked.clear()


def story(*units, **given):
    def decorate(test):
        def run():
            usual = tcp_client.connect
            with Virtual(client, silent, tcp_client) as life:
                gateway = Gateway(life, **given)
                tcp_client.connect = gateway.connect
                try:
                    test(Site(life, gateway, *units))
                finally:
                    tcp_client.connect = usual

        return run

    return decorate


def _costs_little(site):
    lives = site.askers[0]
    site.dies()
    site.run(30000)
    hold_ms = site.gateway.hold_ms
    assert lives.missed == 0, "every request to the living unit was answered"
    assert lives.longest < hold_ms + 300, "it never waits for the dead one twice in a row"
    assert 4 <= site.gateway.asked[DEAD] <= 8, "which is asked less and less often"
    assert site.client.count.reconnects == 1
    site.gateway.dead.clear()
    site.askers[1].good = 0
    site.run(11000 + hold_ms)
    assert site.askers[1].good > 1, "and found again"
    site.run(2000)
    assert site.askers[1].good > 15


test_a_dead_unit_costs_the_others_little = story(LIVES, DEAD)(_costs_little)
test_so_does_one_whose_gateway_says_so_in_time = story(LIVES, DEAD, hold_ms=400)(_costs_little)
test_and_one_whose_gateway_says_nothing = story(LIVES, DEAD, code=0)(_costs_little)
test_and_one_whose_gateway_waits_for_long = story(LIVES, DEAD, hold_ms=2900)(_costs_little)
test_and_one_that_there_is_no_way_to = story(LIVES, DEAD, hold_ms=600, code=10)(_costs_little)


def _at_once(site):
    site.dies()
    site.run(20000)
    assert site.askers[0].missed == 0 and site.askers[0].longest < 200
    assert site.gateway.asked[DEAD] <= 15


test_a_gateway_that_says_so_at_once_is_not_bothered_for_ever_either = story(LIVES, DEAD, hold_ms=5)(_at_once)


def _busy_now_and_then(site):
    meter = site.askers[1]
    for _ in range(5):
        site.dies()
        site.life.until(lambda: site.gateway.asked.get(DEAD) == 2, 2000)
        site.gateway.dead.clear()
        site.run(1000)
        assert meter.longest < 300 and meter.missed == 0, "asked again in place, as ever"


test_a_gateway_that_is_busy_for_a_moment_is_asked_again_in_place = story(LIVES, DEAD, hold_ms=5)(_busy_now_and_then)


def _two_dead(site):
    site.dies()
    site.dies(3)
    site.run(30000)
    lives = site.askers[0]
    assert lives.missed == 0 and lives.longest < 2 * 1000 + 300
    assert site.gateway.asked[DEAD] <= 8 and site.gateway.asked[3] <= 8


test_two_dead_units_cost_the_third_little = story(LIVES, DEAD, 3)(_two_dead)


def _alone(site):
    lives = site.askers[0]
    site.dies(LIVES)
    site.run(20000)
    assert site.gateway.asked[LIVES] >= 18, "it is asked as often as it can be"
    site.gateway.dead.clear()
    lives.good = 0
    site.run(1500)
    assert lives.good > 5, "and found again as soon as it answers"


test_a_single_unit_is_never_left_in_peace = story(LIVES, hold_ms=1, code=0)(_alone)


def _gone(site):
    site.dies()
    site.gateway.dead.clear()
    site.gateway.gone = True
    site.life.until(lambda: site.gateway.connects > 1, 6000)


test_a_gateway_that_is_gone_is_found_out = story(LIVES, DEAD)(_gone)
