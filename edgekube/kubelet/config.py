"""What a kubelet is told about its node and its cluster, and the limits it keeps."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

# Back-off of a crashing container (kubelet's MaxContainerBackOff and its reset rule).
CRASH_BACKOFF_BASE_SECONDS = 10.0
CRASH_BACKOFF_MAX_SECONDS = 300.0
CRASH_BACKOFF_RESET_SECONDS = 600.0
# Back-off of a failing image pull.
PULL_BACKOFF_BASE_SECONDS = 10.0
PULL_BACKOFF_MAX_SECONDS = 300.0
# A pod whose work failed for a passing reason is looked at again after this.
RETRY_SECONDS = 2.0
RETRY_MAX_SECONDS = 60.0
# What a container may write as its termination message (kubelet: 4096 a container, 12 kB a pod).
TERMINATION_MESSAGE_BYTES_MAX = 4096
# Configuration volumes are at most this large (the API's own limit for a ConfigMap or Secret is 1 MiB).
VOLUME_FILE_BYTES_MAX = 3 * 1024 * 1024
STARTS_AT_ONCE_PER_CORE = 2
# The kubelet's default hard eviction thresholds; below them the node has pressure and ends pods.
MEMORY_AVAILABLE_MIN_BYTES = 100 * 1024 * 1024
DISK_AVAILABLE_MIN = 0.10  # of the file system of the data folder
INODES_AVAILABLE_MIN = 0.05
PIDS_AVAILABLE_MIN = 0.05
# Images nobody uses are deleted when the disk is this full; less than the second is the aim.
IMAGE_GC_HIGH, IMAGE_GC_LOW = 0.85, 0.80


class KubeletConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Paths are absolute. `now` is cluster time, aware UTC."""

    node_name: str
    version: str  # of EdgeKube
    kubelet_version: str  # the Kubernetes version it speaks for, v1.36.0+edgekube0.1.0
    data_dir: Path  # pods/<uid>/volumes live here and survive a reboot
    run_dir: Path
    log_dir: Path  # pod logs: <log_dir>/pods/<ns>_<name>_<uid>/<container>/<attempt>.log
    node_ip: str
    cluster_domain: str = "cluster.local"
    cluster_dns: tuple[str, ...] = ()
    pod_cidr: str
    resolv_conf: Path = Path("/etc/resolv.conf")
    cgroup_root: str = "edgekube"
    max_pods: int = 110
    log_size_bytes_max: int = 10 * 1024 * 1024  # of one container log before it is rotated
    log_files_max: int = 5  # of one container, the current one included
    system_reserved_memory_bytes: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[str, ...] = ()
    unschedulable: bool = False
    now: Callable[[], datetime]
