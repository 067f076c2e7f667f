import signal
import threading

import pytest

from gss.core.interrupt import Interrupted, interruptible, uninterrupted


def test_sigterm_is_an_exception_once():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as stop, interruptible():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)  # a repetition does not interrupt the cleaning up
    assert isinstance(stop.value, Interrupted)
    assert str(stop.value) == "stopped by SIGTERM" and stop.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_hint_is_part_of_the_message():
    assert str(Interrupted(hint="continue with --resume")) == "interrupted; continue with --resume"
    far = Interrupted(hint="continue with --resume", after="after 2 of 3 images")
    assert str(far) == "interrupted after 2 of 3 images; continue with --resume"
    assert Interrupted().exit_code == 130


def test_other_threads_keep_the_handlers():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with interruptible():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_waits_for_the_end_of_a_block(number, code):
    done = []
    with pytest.raises(KeyboardInterrupt) as stop, interruptible():
        with uninterrupted():
            signal.raise_signal(number)
            done.append("files")
        done.append("more")
    assert done == ["files"]
    assert getattr(stop.value, "exit_code", 130) == code


def test_an_error_in_such_a_block_restores_the_handlers():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(ValueError, match="full"), uninterrupted():
        raise ValueError("full")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
