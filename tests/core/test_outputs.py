import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from gss.core.errors import InputError
from gss.core.outputs import (
    LOCK_NAME,
    check_apart,
    check_files,
    check_writable,
    lock_folder,
    locked,
    prepare_output,
    release_outputs,
    take_over_locks,
    unlock_folder,
)

HOLD = "import sys, time; from gss.core.outputs import prepare_output; prepare_output(sys.argv[1], overwrite=True)"


@pytest.fixture(autouse=True)
def _no_lock_is_left():
    yield
    release_outputs()


def test_prepare_output_makes_and_refuses(tmp_path):
    out = prepare_output(tmp_path / "a" / "b", overwrite=False)
    assert out.is_dir()
    assert prepare_output(out, overwrite=False) == out
    (out / "metrics.jsonl").write_text("kept")
    with pytest.raises(ValueError, match="already holds 'metrics.jsonl'.*--overwrite.*--resume"):
        prepare_output(out, overwrite=False, resume=False)
    with pytest.raises(ValueError, match="pass --overwrite to replace it, or choose"):
        prepare_output(out, overwrite=False)
    prepare_output(out, overwrite=True)
    prepare_output(out, overwrite=False, resume=True)
    assert (out / "metrics.jsonl").read_text() == "kept"


def test_prepare_output_names_what_is_wrong(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ValueError, match="is a file"):
        prepare_output(file, overwrite=True)
    with pytest.raises(ValueError, match="cannot write.*file/below.*choose another --out"):
        prepare_output(file / "below", overwrite=True)


def test_check_writable_names_what_is_wrong(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("kept")
    check_writable(file, "--json")
    check_writable(tmp_path / "new" / "folder" / "a.json", "--json")
    assert os.listdir(tmp_path) == ["file"]
    with pytest.raises(ValueError, match=r"cannot write --json .*: it is a folder; name a file in it"):
        check_writable(tmp_path, "--json")
    with pytest.raises(ValueError, match=r"cannot write --html .*a\.json: .*file is a file"):
        check_writable(file / "a.json", "--html")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match="no permission"):
        check_writable(file, "--json")


def test_prepare_output_checks_permission(tmp_path, monkeypatch):
    # chmod does not stop root, who may run the tests
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match="no permission to write"):
        prepare_output(tmp_path, overwrite=False)


def start(folder, then="; print('ready', flush=True); time.sleep(60)"):
    return subprocess.Popen(
        [sys.executable, "-c", HOLD + then, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def busy(tmp_path):
    """A folder that another process is using."""
    process = start(tmp_path / "run")
    assert process.stdout.readline() == "ready\n"
    yield tmp_path / "run", process
    process.kill()
    process.communicate()


def test_a_folder_in_use_is_refused(busy):
    folder, process = busy
    for flags in ({"overwrite": True}, {"overwrite": False, "resume": True}, {"overwrite": False}):
        with pytest.raises(ValueError, match=f"in use by process {process.pid} on {socket.gethostname()}.*--force"):
            prepare_output(folder, **flags)


def test_force_takes_the_lock_over(busy):
    folder, process = busy
    take_over_locks(True)
    prepare_output(folder, overwrite=True)
    assert json.loads((folder / LOCK_NAME).read_text())["pid"] == os.getpid()
    process.send_signal(signal.SIGINT)
    process.wait()
    # Its end does not release what is not its own any more.
    assert json.loads((folder / LOCK_NAME).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_lock_ends_with_its_process(busy, number):
    folder, process = busy
    process.send_signal(number)
    process.wait()
    prepare_output(folder, overwrite=False)


def test_a_lock_of_another_host_stays(tmp_path):
    lock_folder(tmp_path)
    holder = json.loads((tmp_path / LOCK_NAME).read_text())
    release_outputs()
    (tmp_path / LOCK_NAME).write_text(json.dumps(holder | {"host": "elsewhere"}))
    with pytest.raises(ValueError, match="on elsewhere since 20"):
        prepare_output(tmp_path, overwrite=True)
    take_over_locks(True)
    prepare_output(tmp_path, overwrite=True)


def test_a_later_process_of_the_same_number_does_not_hold_the_lock(tmp_path):
    lock_folder(tmp_path)
    holder = json.loads((tmp_path / LOCK_NAME).read_text())
    release_outputs()
    (tmp_path / LOCK_NAME).write_text(json.dumps(holder | {"pid": 1}))
    prepare_output(tmp_path, overwrite=True)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_lock_is_replaced(tmp_path, content):
    (tmp_path / LOCK_NAME).write_text(content)
    prepare_output(tmp_path, overwrite=False)


def test_one_of_several_starts_wins(tmp_path):
    begin = time.time() + 1.5
    then = f"; print('won', flush=True); time.sleep(max(0, {begin} + 2 - time.time()))"
    wait = f"import time; time.sleep(max(0, {begin} - time.time())); "
    commands = [[sys.executable, "-c", wait + HOLD + then, str(tmp_path)] for _ in range(4)]
    processes = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]
    results = [process.communicate() for process in processes]
    assert [out for out, _ in results].count("won\n") == 1
    assert all("in use by process" in error for out, error in results if not out)


def test_a_process_may_lock_a_folder_twice(tmp_path):
    prepare_output(tmp_path, overwrite=False)
    with locked(tmp_path):
        assert (tmp_path / LOCK_NAME).is_file()
    assert (tmp_path / LOCK_NAME).is_file()
    unlock_folder(tmp_path)
    assert os.listdir(tmp_path) == []


def test_temporary_files_of_killed_runs_are_removed(tmp_path):
    for name in ("pictures/.step_000002_a.0123abcd.tmp.jpg", ".posterior.0123abcd.tmp/vqvae/config.json", "kept.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("half")
    (tmp_path / ".pipeline.0123abcd.old").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / LOCK_NAME).write_text("")
    (tmp_path / "other" / ".a.0123abcd.tmp").write_text("of another run")
    prepare_output(tmp_path, overwrite=True)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} - {LOCK_NAME, f"other/{LOCK_NAME}"}
    assert found == {"kept.json", "other", "other/.a.0123abcd.tmp", "pictures", "pipeline"}


def test_temporary_files_alone_are_no_results(tmp_path):
    (tmp_path / ".a.0123abcd.tmp.png").write_text("half")
    prepare_output(tmp_path, overwrite=False)
    assert os.listdir(tmp_path) == [LOCK_NAME]


def test_an_output_folder_that_is_an_input_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    check_apart(tmp_path / "out", {"the data set itself": tmp_path / "data", "nothing": None})
    check_apart(tmp_path / "data" / "out", {"the data set itself": tmp_path / "data"})
    for place in ("data", "link", "data/../data"):
        with pytest.raises(InputError, match=r"is the data set itself, .* choose another --out"):
            check_apart(tmp_path / place, {"the data set itself": tmp_path / "data"})


def test_two_arguments_do_not_name_one_file(tmp_path):
    check_files({"json": tmp_path / "a", "html": tmp_path / "b"})
    with pytest.raises(InputError, match="--json and --html are both"):
        check_files({"json": tmp_path / "a", "html": tmp_path / "x" / ".." / "a"})
