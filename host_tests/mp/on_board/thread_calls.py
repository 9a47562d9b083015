"""What one thread of threads.py does: random calls of the whole API, with a check on everything it reads."""

import time

GRIDS = 4
MODES = 6
PROGRAMS = ("remote", "grid_service", "schedule", "optimiser")


def total(dicts):
    """The sums of dicts of counts."""
    result = {}
    for counts in dicts:
        for name in counts:
            result[name] = result.get(name, 0) + counts[name]
    return result


class Caller:
    """Calls one method named call_* after another, chosen at random, until `stop`."""

    def __init__(self, pm, seed, classes):
        self.pm = pm
        self.charge_params, self.discharge_params, self.entry, self.error = classes
        self.state = seed * 2654435761 % 0x7FFFFFFF or 1
        self.stop = False
        self.ended = 0
        self.done = {}
        self.refused = 0
        self.reads = 0
        self.grids_set = 0
        self.problems = []
        self.calls = [name for name in dir(self) if name.startswith("call_")]

    def below(self, n):
        """A random number, 0 to n - 1."""
        self.state = self.state * 48271 % 0x7FFFFFFF
        return self.state % n

    def run(self):
        while not self.stop:
            name = self.calls[self.below(len(self.calls))]
            try:
                getattr(self, name)()
                self.done[name] = self.done.get(name, 0) + 1
            except (self.error, ValueError):
                self.refused += 1
                self.done[name] = self.done.get(name, 0) + 1
            except Exception as error:
                self.problems.append("%s: %r" % (name, error))
            if self.below(12) == 0:
                time.sleep_ms(1)
        self.ended = 1

    def torn(self, what):
        self.problems.append("torn: " + what)

    # ---- reads, each checked for being of one instant ----------------------------------------------------

    def call_stats(self):
        stats = self.pm.stats()
        self.reads += 1
        mark = int(stats["pv_power"] * 1000 + 0.5)
        volts = int(stats["voltage"] * 10 + 0.5) - 6000
        dc_volts = int(stats["dc_bus_voltage"] * 10 + 0.5) - 6000
        amps = int(stats["grid_current"] * 10 + 0.5)
        if not mark == volts == dc_volts == amps:
            self.torn("%d %d %d %d" % (mark, volts, dc_volts, amps))
        command = stats["command"]
        if command and not -stats["limit_charge"] <= command <= stats["limit_discharge"]:
            self.torn("command %s outside its limits" % command)
        if command and stats["mode"] in ("STANDBY", "EMERGENCY"):
            self.torn("%s kW in %s" % (command, stats["mode"]))

    def call_claims(self):
        for claim in self.pm.claims():
            self.reads += 1
            if claim["owner"].startswith("schedule") or claim["owner"] == "island":
                continue  # the manager's own, with a power of their own
            if claim["source"] in PROGRAMS and claim["owner"] != "kw %d" % claim["kw"]:
                self.torn("%s asks for %s" % (claim["owner"], claim["kw"]))

    def call_faults(self):
        for fault in self.pm.faults():
            self.reads += 1
            if fault["count"] < 1:
                self.torn("a fault never raised is listed")

    def call_history(self):
        last = 0
        for _name, _data, at_s in self.pm.events.history():
            self.reads += 1
            if at_s < last:
                self.torn("history runs backwards")
            last = at_s

    def call_properties(self):
        pm = self.pm
        if pm.is_emergency not in (True, False) or not 0 <= pm.mode < MODES or not 0 <= pm.grid_connection < GRIDS:
            self.torn("properties")

    # ---- commands -----------------------------------------------------------------------------------------

    def call_start(self):
        self.pm.start()

    def call_start_again(self):
        self.pm.start()

    def call_stop(self):
        if self.below(4) == 0:
            self.pm.stop()

    def call_set_mode(self):
        self.pm.set_mode(self.below(MODES + 1))

    def call_charge_params(self):
        self.pm.set_charge_params(self.charge_params(method=self.below(4), charge_power_max=self.below(100)))

    def call_discharge_params(self):
        self.pm.set_discharge_params(self.discharge_params(discharge_power_max=self.below(100)))

    def call_start_charging(self):
        self.pm.start_charging(self.below(100))

    def call_start_discharging(self):
        self.pm.start_discharging(self.below(110), self.below(3))

    def call_constant_power(self):
        self.pm.set_constant_power(self.below(220) - 110, self.below(3))

    def call_stop_operation(self):
        self.pm.stop_operation(self.below(3))

    def call_resume(self):
        self.pm.resume()

    def call_claim(self):
        kw = self.below(200) - 100
        self.pm.claim(PROGRAMS[self.below(4)], kw, 1 + self.below(5), "kw %d" % kw)

    def call_release(self):
        self.pm.release(PROGRAMS[self.below(4)])

    def call_service(self):
        self.pm.service(True, True, self.below(10) - 5, 1)

    def call_curtail(self):
        self.pm.curtail(self.below(120), None if self.below(2) else self.below(120))

    def call_grid(self):
        self.pm.set_grid_connection(self.below(GRIDS + 1))
        self.grids_set += 1  # each is one CONFIG_CHANGED

    def call_limits(self):
        self.pm.update_power_limits(50, self.below(200), self.below(200))

    def call_add_schedule(self):
        self.pm.add_schedule(self.entry(hour=self.below(24), minute=self.below(62), power_setpoint=0, mode=1))

    def call_update_schedule(self):
        self.pm.update_schedule(self.below(18), self.entry(hour=self.below(24), enabled=self.below(2) == 1))

    def call_delete_schedule(self):
        self.pm.delete_schedule(self.below(18))

    def call_read_schedules(self):
        pm = self.pm
        ids = [entry_id for entry_id, entry in pm.schedules() if entry.hour > 23]
        if ids:
            self.torn("an entry at an hour that cannot be")
        pm.upcoming(3)
        pm.get_schedule(self.below(17))

    def call_enable_scheduling(self):
        pm = self.pm
        pm.enable_scheduling(not pm.scheduling_enabled)

    def call_grid_again(self):
        self.call_grid()

    def call_claims_again(self):
        self.call_claims()
        self.call_claim()
        self.call_claims()

    def call_emergency(self):
        if self.below(10) == 0:
            self.pm.emergency_shutdown()

    def call_reset(self):
        self.pm.reset_emergency()

    def call_register(self):
        def mine(event, data, user_data):
            user_data.append(event)

        heard = []
        event = self.below(10) - 1
        self.pm.register_callback(event, mine, heard)
        time.sleep_ms(1)
        self.pm.unregister_callback(event, mine)
