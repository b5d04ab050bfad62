"""The container runtime on cgroup v2, which a Raspberry Pi has and this machine may not.

The gate boots a user-mode kernel and runs the part of tests/node/runtime that touches cgroups; the long test runs all.
"""

from pathlib import Path

import pytest

from tests.vm import debian, uml
from tests.vm.machine import pytest_command

pytestmark = pytest.mark.root
needs_uml = pytest.mark.skipif(bool(uml.missing()), reason=uml.missing())
needs_machine = pytest.mark.skipif(bool(debian.missing()), reason=debian.missing())

ON_V2 = "grep -q ' - cgroup2 ' /proc/self/mountinfo && ! grep -q ' - cgroup ' /proc/self/mountinfo"
RUNTIME = "tests/node/runtime"
SMOKE = (
    f"{RUNTIME}/test_cgroup_limits.py",
    f"{RUNTIME}/test_recovery.py::test_everything_runs_on_and_is_adopted",
    f"{RUNTIME}/test_surroundings.py::test_figures_and_limits_that_change",
)


@needs_uml
def test_limits_and_recovery_on_cgroup_v2(tmp_path: Path) -> None:
    steps = {"v2": ON_V2, "runtime": pytest_command(*SMOKE)}
    uml.run(steps, tmp_path, seconds_max=300).check(steps)


@needs_uml
@pytest.mark.long
def test_the_whole_runtime_on_cgroup_v2(tmp_path: Path) -> None:
    steps = {"v2": ON_V2, "runtime": pytest_command(RUNTIME), "images": pytest_command("tests/node/images")}
    uml.run(steps, tmp_path, seconds_max=1800).check(steps)


@needs_machine
@pytest.mark.long
def test_a_node_under_systemd_on_cgroup_v2(tmp_path: Path) -> None:
    """The unit as shipped, examples/hello.yaml, limits, OOM, kill -9, stop and reset."""
    steps = {"v2": ON_V2, "node": pytest_command("-x", "tests/vm/guest/flow_systemd.py")}
    debian.run_steps(steps, tmp_path, seconds_max=3600).check(steps)


@needs_machine
@pytest.mark.long
def test_the_node_tests_on_cgroup_v2(tmp_path: Path) -> None:
    """With the parts of the kernel that the user-mode one lacks, and kubectl against a whole node."""
    slow = "tests/clients/test_kubectl_node.py::test_a_terminal_follows_its_window"  # counts on seconds
    steps = {
        "v2": ON_V2,
        "runtime": pytest_command(RUNTIME),
        "kubelet": pytest_command("tests/node/kubelet"),
        "network": pytest_command("tests/node/network", "tests/node/proxy"),
        "clients": pytest_command("tests/clients/test_kubectl_node.py", "--deselect", slow),
        "leaks": pytest_command("tests/clients/test_leaks.py", "-m", "not long"),
    }
    debian.run_steps(steps, tmp_path, seconds_max=7200).check(steps)
