"""How many threads: from what is granted and free; and what a training beside another one keeps of its speed."""

import os
import subprocess
import sys

import pytest

from ganvas.cli import main
from ganvas.ground import threads

STAT = """cpu  900 0 0 900 0 0 0 0 0 0
cpu0 100 20 30 5000 40 5 6 7 0 0
cpu1 1 2 3 5000 40 0 0 0 0 0
cpu11 1000 0 0 0 0 0 0 0 0 0
intr 5
"""


def test_work_of_the_allowed_cores_alone_is_counted(tmp_path):
    (tmp_path / "stat").write_text(STAT)
    assert threads.busy_ticks({0}, tmp_path / "stat") == 100 + 20 + 30 + 5 + 6 + 7
    assert threads.busy_ticks({0, 1}, tmp_path / "stat") == 168 + 6
    assert threads.busy_ticks({0}, tmp_path / "none") == 0


@pytest.mark.parametrize(("text", "cores"), [("150000 100000", 2), ("100000 100000", 1), ("50000 100000", 1)])
def test_quota_of_a_control_group_is_rounded_up(tmp_path, text, cores):
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert threads.quota(tmp_path) == cores


def test_no_quota_is_no_limit(tmp_path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert threads.quota(tmp_path) > 1000
    assert threads.quota(tmp_path / "none") > 1000


def test_quota_of_version_1(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("250000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert threads.quota(tmp_path) == 3
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert threads.quota(tmp_path) > 1000


@pytest.mark.parametrize(("used", "granted", "free"), [(0.0, 4, 4), (1.0, 4, 3), (3.8, 4, 1), (0.3, 4, 4), (9.0, 4, 1)])
def test_cores_that_others_use_are_left_to_them(monkeypatch, used, granted, free):
    ticks = iter([1000, 1000 + used * threads.LOOK * os.sysconf("SC_CLK_TCK")])
    monkeypatch.setattr(threads, "busy_ticks", lambda allowed: next(ticks))
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda pid: set(range(granted)), raising=False)
    monkeypatch.setattr(threads, "quota", lambda: 1 << 20)
    assert threads.cores() == (granted, free)


def settled(monkeypatch, found, **environment):
    monkeypatch.setattr(threads, "cores", lambda: threads.Cores(*found))
    monkeypatch.setattr(threads.os, "environ", dict(environment))
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(threads.sys, "modules", {})
    return threads.settle(), threads.os.environ


def test_a_choice_is_said_and_made_for_openmp(monkeypatch):
    said, environment = settled(monkeypatch, (4, 1))
    assert said == "1 thread: 3 of 4 cores are in use (--threads N takes N)"
    assert environment == {"GOMP_SPINCOUNT": "1000", "OMP_NUM_THREADS": "1"}
    said, environment = settled(monkeypatch, (2, 2))
    assert said is not None and said.startswith("2 threads: 2 of 4 cores are granted")


def test_a_quiet_machine_says_nothing(monkeypatch):
    said, environment = settled(monkeypatch, (4, 4))
    assert said is None
    assert environment["OMP_NUM_THREADS"] == "4"


def test_what_the_environment_says_stands(monkeypatch):
    said, environment = settled(monkeypatch, (4, 1), OMP_NUM_THREADS="3", OMP_WAIT_POLICY="ACTIVE")
    assert said is None
    assert environment == {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "ACTIVE"}


def test_a_verb_that_computes_settles_before_torch_is_imported():
    code = (
        "import sys; from ganvas import cli; from ganvas.ground import threads; seen = []; "
        "threads.settle = lambda: seen.append('torch' in sys.modules); "
        "cli.main(['sample', 'nowhere']); cli.main(['recipes']); print(seen)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[False]\n")


def test_threads_are_chosen_by_a_flag_of_any_verb():
    code = "import sys; from ganvas import cli; cli.main(sys.argv[1:]); import torch; print(torch.get_num_threads())"
    for words, expected in (
        (["--threads", "1", "data", "list"], 1),
        (["data", "list", "--threads=1"], 1),
        (["data", "list", "--threads", "9" * 20], os.cpu_count()),
    ):
        environment = {**os.environ, "OMP_NUM_THREADS": "1" if expected != 1 else "2"}
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment)
        assert done.stdout.endswith(f"\n{expected}\n"), done.stderr


@pytest.mark.parametrize("count", ["0", "-1", "two", "1.5", "", "٣"])
def test_threads_that_can_not_be_are_refused(count, capsys, monkeypatch):
    monkeypatch.setattr(threads, "chosen", None)
    assert main(["data", "list", f"--threads={count}"]) == 2
    assert f"--threads takes a whole number from 1 on, not {count!r}" in capsys.readouterr().err
    assert main(["data", "list", "--threads"]) == 2
    assert threads.chosen is None
