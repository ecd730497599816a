#!/bin/sh
# A node: the first process of namespaces of its own, with containerd and a kubelet. usage: node.sh FOLDER KUBELET-OPTION...
#
# FOLDER is the cluster's. The node sees all of the machine, but what its daemons leave behind they leave in FOLDER or in memory.
set -eu
folder=$1
shift
export PATH="$folder/bin:$PATH"
trap exit TERM
mount --make-rshared /
mount -t proc proc /proc
mount -t tmpfs run /run
for place in lib log; do
    mkdir -p "$folder/node/$place" "$folder/node/$place.work"
    mount -t overlay -o "lowerdir=/var/$place,upperdir=$folder/node/$place,workdir=$folder/node/$place.work" "$place" "/var/$place"
done
# at a path that is short enough for sockets
mkdir -p /var/lib/kubelet "$folder/node/kubelet"
mount --bind "$folder/node/kubelet" /var/lib/kubelet
# the kubelet and the bridge plugin set these for the whole machine
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys \
    kernel/keys/root_maxbytes net/ipv4/ip_forward; do
    mkdir -p "/run/sys/$setting"
    cp "/proc/sys/$setting" "/run/sys/$setting/value"
    mount --bind "/run/sys/$setting/value" "/proc/sys/$setting"
done
containerd --config "$folder/node/containerd.toml" >>"$folder/log/containerd.log" 2>&1 &
until ctr version >/dev/null 2>&1; do
    kill -0 $!
    sleep 0.05
done
ctr --namespace k8s.io images import "$folder/node/image.tar"
ctr --namespace k8s.io events >>"$folder/node/events" &
# a service manager starts a kubelet anew: it gives up where containerd still reads what ran before
until kubelet "$@"; do
    sleep 1
done &
wait
