"""Which seconds are charged to which phase, on a clock that only the test advances."""

import math

import pytest

from nasbench.errors import BudgetExhausted
from nasbench.runs.budget import CHARGED_PHASES, Budget


class FakeClock:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds

    def advance(self, seconds):
        self.seconds += seconds


@pytest.fixture
def clock():
    return FakeClock()


def test_time_is_charged_to_the_innermost_phase(clock):
    budget = Budget(100, clock=clock)
    clock.advance(7)
    with budget.running():
        clock.advance(1)
        with budget.charged("training"):
            clock.advance(2)
            with budget.charged("validation"):
                clock.advance(3)
            clock.advance(4)
        clock.advance(5)
    clock.advance(8)
    assert budget.charged_s == {"training": 6, "validation": 3, "search": 0, "idle": 6}
    assert budget.uncharged_s == {"loading": 15}
    assert budget.elapsed_s == sum(budget.charged_s.values()) == 15


def test_uncharged_work_costs_nothing(clock):
    budget = Budget(100, clock=clock)
    with budget.running(), budget.charged("search"):
        clock.advance(1)
        with budget.uncharged("test"):
            clock.advance(50)
            # No phase inside can start the clock.
            with budget.charged("validation"):
                clock.advance(60)
        clock.advance(2)
    assert budget.elapsed_s == 3
    assert budget.uncharged_s["test"] + budget.uncharged_s.get("validation", 0) == 110


def test_phase_ends_with_an_error(clock):
    budget = Budget(100, clock=clock)

    def fail():
        with budget.running(), budget.charged("training"):
            clock.advance(3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    clock.advance(9)
    assert budget.charged_s["training"] == budget.elapsed_s == 3
    assert budget.uncharged_s["loading"] == 9


def test_budget_is_spent_exactly_at_its_end(clock):
    budget = Budget(10, clock=clock)
    with budget.running():
        clock.advance(9.999)
        budget.check()
        clock.advance(0.001)
        with pytest.raises(BudgetExhausted, match="the budget of 10 s is spent"):
            budget.check()


def test_unlimited_budget_is_never_spent(clock):
    budget = Budget(math.inf, clock=clock)
    with budget.running():
        clock.advance(1e12)
        budget.check()


def test_budget_continues_from_an_earlier_attempt(clock):
    earlier = {"training": 30.0, "search": 5.0, "validation": 0.0, "idle": 0.0}
    budget = Budget(40, earlier, {"test": 2.0}, clock=clock)
    assert budget.elapsed_s == 35
    with budget.running():
        clock.advance(4)
        budget.check()
        clock.advance(1)
        with pytest.raises(BudgetExhausted):
            budget.check()
    assert budget.charged_s == {"training": 30, "search": 5, "validation": 0, "idle": 5}
    assert budget.uncharged_s["test"] == 2
    assert earlier["idle"] == 0.0


def test_suspended_clock_charges_nothing(clock):
    budget = Budget(40, {"training": 39.0}, clock=clock)
    budget.suspend()
    with budget.running(), budget.charged("training"):
        clock.advance(1000)
        budget.check()
        with budget.uncharged("loading"):
            clock.advance(10)
        budget.proceed()
        clock.advance(0.5)
        budget.check()
        clock.advance(0.5)
        with pytest.raises(BudgetExhausted):
            budget.check()
    assert budget.charged_s["training"] == 40
    assert budget.uncharged_s["repeating"] == 1010


def test_spent_budget_does_not_end_a_suspended_clock(clock):
    budget = Budget(40, {"training": 40.0}, clock=clock)
    budget.suspend()
    with budget.running():
        budget.check()
        budget.proceed()
        with pytest.raises(BudgetExhausted):
            budget.check()


def test_phase_waits_for_queued_work_at_its_start_and_end(clock):
    queue = []

    def synchronise():
        clock.advance(sum(queue))
        queue.clear()

    budget = Budget(100, clock=clock, synchronise=synchronise)
    queue.append(1.0)
    with budget.running():
        queue.append(2.0)
        with budget.charged("training"):
            queue.append(4.0)
        queue.append(8.0)
        assert budget.now() == clock.seconds == 1015
    assert budget.uncharged_s["loading"] == 1
    assert budget.charged_s == {"training": 4, "validation": 0, "search": 0, "idle": 10}


def test_unknown_phase_is_rejected(clock):
    budget = Budget(100, clock=clock)
    expected = "phase is one of training, validation, search, idle, not 'thinking'"
    with budget.running(), pytest.raises(ValueError, match=expected), budget.charged("thinking"):
        pass
    assert set(budget.charged_s) == set(CHARGED_PHASES)
