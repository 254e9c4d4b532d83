"""What metrics cost a host: the rows of `bench metrics` that are the agent's.

An agent with two instances is left alone, beside the speaker of the same host; 100 instances are counted each second,
in control groups and by links that are really there; and an hour of samples of 100 instances, half of them busy, is
written down as the tiers do it.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
import zlib
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.agent_lab import PopLab, instance

from anypop.agent.bfd.files import read_told
from anypop.agent.run import FULL_PASS_S
from anypop.agent.samples.rows import Layout
from anypop.agent.samples.rows import Row as Sample
from anypop.agent.samples.tiers import Tiers
from anypop.host import ip, process
from anypop.model.metrics import INSTANCE, SeriesKey
from bench.harness import Row, row

IDLE_S, ROUNDS, SETTLED_S = FULL_PASS_S, 3, 5.0  # in each round the agent looks at everything once
INSTANCES, COUNTED_S = 100, 20.0
HOUR_S = 3600
ROOT = Path("/sys/fs/cgroup")
START_MS = 1_700_000_000_000


def idle() -> Iterable[Row]:
    """Two instances that nobody asks anything but their probes, two sessions with BFD at its usual interval, samples
    on disk. The neighbour does nothing but have the same two sessions by BIRD.
    """
    pop = PopLab("bmi")
    try:
        ones = [instance(n) for n in range(2)]
        pop.give(*ones)
        pop.start_agent()
        pop.wait_running(*(one.name for one in ones), timeout_s=60)
        time.sleep(SETTLED_S)
        neighbor = process.alive(pop.folder / "one.pid")
        assert neighbor is not None
        bird = int((pop.state / "bird" / "bird.pid").read_text().split()[0])
        bfd = read_told(pop.state / "bird" / "bfd").worker
        took: dict[int, list[float]] = {pid: [] for pid in (pop.agent_pid(), bird, bfd, neighbor)}
        for _ in range(ROUNDS):
            before, began = {pid: _spent_s(pid) for pid in took}, time.monotonic()
            time.sleep(IDLE_S)
            for pid, shares in took.items():
                shares.append(100 * (_spent_s(pid) - before[pid]) / (time.monotonic() - began))
        agent, speaker, watching, watched = took.values()
    finally:
        pop.close()
    yield row("agent_cpu_idle_pct", agent, unit="%", below=0.3, against="BIRD of the same host", floor=speaker)
    yield row("bfd_cpu_pct", watching, unit="%", against="the other end: BIRD's own BFD", floor=watched)


def _spent_s(pid: int) -> float:
    """Processor time of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def hundred() -> Iterable[Row]:
    """What counting takes, against reading the same files of the kernel once a second and nothing else."""
    with _host() as (space, ids), tempfile.TemporaryDirectory() as folder:
        told = {
            what: [
                float(line)
                for line in subprocess.run(
                    ["nsenter", f"--net=/run/netns/{space}", sys.executable, "-m", "bench.metered_host", what,
                     str(COUNTED_S), folder, *ids],
                    capture_output=True, text=True, check=True, timeout=120,
                ).stdout.split()
            ]
            for what in ("counted", "read")
        }  # fmt: skip
    yield row(
        "agent_cpu_100_instances_pct", told["counted"], unit="%", below=1.0, against="its files read, and no more",
        floor=told["read"],
    )  # fmt: skip


@contextmanager
def _host() -> Iterator[tuple[str, list[str]]]:
    """A network namespace with a link for each instance, a control group for each, and a process in the last one."""
    space, ids = f"bmh{os.getpid() % 46656:x}", [f"{n + 1:032x}"[::-1] for n in range(INSTANCES)]
    folders = [
        top / f"{space}-{id_}"
        for top in ([ROOT / name for name in ("cpu", "cpuacct", "memory")] if (ROOT / "memory").exists() else [ROOT])
        for id_ in ids
    ]
    ip.batch([f"netns add {space}"])
    sleepers = []
    try:
        ip.batch([f"link add i{id_[:10]} type veth peer name p{id_[:10]}" for id_ in ids], netns=space)
        for folder in folders:
            folder.mkdir()
        for id_ in ids:
            sleepers.append(subprocess.Popen(["sleep", "1000"]))
            for folder in folders:
                if folder.name.endswith(id_):
                    (folder / "cgroup.procs").write_text(str(sleepers[-1].pid))
        yield space, [f"{id_}:{one.pid}" for id_, one in zip(ids, sleepers, strict=True)]
    finally:
        for one in sleepers:
            one.kill()
            one.wait()
        for folder in folders:
            if folder.exists():
                folder.rmdir()
        ip.batch([f"netns del {space}"])


def small() -> Iterable[Row]:
    """Bytes a sample on disk, of the tier of seconds; against the same numbers as they are, deflated."""
    rest = random.Random(10)
    layout: Layout = tuple(
        SeriesKey(name, (("incarnation", f"{rest.getrandbits(128):032x}"), ("instance", f"web-eu-lhr-{n}")))
        for n in range(INSTANCES)
        for name in INSTANCE
    )
    values = [rest.randrange(10**9) for _ in layout]
    plain, size = list[int](), 0
    with tempfile.TemporaryDirectory() as folder:
        tiers = Tiers(Path(folder))
        for n in range(HOUR_S):
            values = list(_next(values, rest))
            tiers.add(layout, Sample(START_MS + 1000 * n + rest.randrange(3), values))
            plain += values
            if len(plain) >= 5 * len(layout):
                size += len(zlib.compress(array("Q", plain).tobytes(), 6))
                plain = []
        tiers.flush()
        kept = tiers.bytes()
    samples = HOUR_S * len(layout)
    sizes = [kept["1s"] / samples, kept["10s"] / samples * 10, kept["1m"] / samples * 60]
    yield row("bytes_per_sample", sizes, unit="bytes", below=4, against="deflate alone", floor=[size / samples])


def _next(values: list[int], rest: random.Random) -> Iterator[int]:
    """A second later: half of the instances are busy, the others are asked by their probes alone."""
    for n in range(INSTANCES):
        cpu, throttled, memory, got, sent, packets_in, packets_out, restarts, _ = values[9 * n : 9 * n + 9]
        if n % 2:
            packets = rest.randrange(200, 300)
            yield cpu + rest.randrange(50_000, 150_000)
            yield throttled + rest.choice((0, 0, rest.randrange(20_000)))
            yield max(0, memory + 4096 * rest.randrange(-20, 21))
            yield got + packets * rest.randrange(80, 120)
            yield sent + packets * rest.randrange(1000, 1400)
            yield packets_in + packets
            yield packets_out + packets + rest.randrange(9)
        else:
            yield from (cpu + rest.randrange(300, 500), throttled, memory, got + 520, sent + 240)
            yield from (packets_in + 8, packets_out + 4)
        yield restarts
        yield rest.randrange(120, 400)
