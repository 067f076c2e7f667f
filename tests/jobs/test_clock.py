from gss.jobs import clock as module
from gss.jobs.clock import StageClock


def test_a_stage_says_its_number_and_what_is_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    clock = StageClock(["first", "second"], {"first": 60, "second": 120, "report": 60})
    assert clock.place("second") == "stage 2 of 3, second" and clock.place("report") == "stage 3 of 3, report"
    assert clock.left() == ""
    now[0] = 300.0
    clock.finish("first", 300.0)  # five times as long as usual
    assert clock.left() == "; 5 min so far, about 15 min left"


def test_without_usual_times_only_the_time_so_far_is_known(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    clock = StageClock(["first", "second"])
    now[0] = 30.0
    clock.finish("first", 30.0)
    assert clock.left() == "; 30 s so far"
    assert StageClock(["only"]).place("only") == "only"


def test_what_was_finished_before_is_not_left():
    clock = StageClock(["first", "second"], {"first": 60, "second": 60, "third": 60})
    clock.skip("first")
    clock.finish("second", 60.0)
    assert clock.left().endswith("about 1 min left")
