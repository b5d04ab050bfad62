#!/bin/sh
# The first process of a user-mode-linux kernel whose root is this machine's / through hostfs, read-only.
# It lays memory over that root, mounts cgroup v2 alone, and runs the steps it was handed.
# From the kernel's command line: EDGEKUBE_STEPS, a shell script.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8

halt_with() {
    echo "STEP boot $1"
    poweroff -f
}

mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t tmpfs stage /mnt || halt_with 1
mkdir -p /mnt/modules/lib /mnt/upper /mnt/work /mnt/root
ln -s /usr/lib/uml/modules /mnt/modules/lib/modules
modprobe -d /mnt/modules overlay || halt_with 1
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work root /mnt/root || halt_with 1

cd /mnt/root || halt_with 1
mount -t proc proc proc
mount -t sysfs sys sys
mount -t devtmpfs dev dev
mkdir -p dev/pts dev/shm dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs shm dev/shm
mount -t mqueue mqueue dev/mqueue
mount -t tmpfs run run
mount -t cgroup2 cgroup2 sys/fs/cgroup || halt_with 1
# The kernel's own modprobe looks in the usual place.
mkdir -p usr/lib/modules
ln -s "/usr/lib/uml/modules/$(uname -r)" "usr/lib/modules/$(uname -r)"
# Overlay mounts want an upper folder that is no overlay itself.
mkdir run/tmp
export TMPDIR=/run/tmp
ip link set lo up
echo "STEP boot 0"
exec switch_root . /bin/sh "$EDGEKUBE_STEPS" 2>&1
