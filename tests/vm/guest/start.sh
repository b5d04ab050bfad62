#!/bin/sh
# In the Debian machine: put the checkout where the host has it, give the machine an uplink, run the steps.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
mkdir -p "$EDGEKUBE_ROOT" && mount /dev/vdb "$EDGEKUBE_ROOT"
echo "STEP boot $?"
# TEST-NET-2: a node wants an address of its own, and nobody answers there.
ip link add uplink type dummy
ip addr add 198.51.100.10/24 dev uplink
ip link set uplink up
ip route add default via 198.51.100.1
exec /bin/sh "$EDGEKUBE_ROOT/steps.sh"
