#!/bin/sh
# Process 1 where systemd is not asked for: mounts what systemd would have mounted, then the command, then the end.
# A shell collects the processes that come to it as to any process 1, while it waits for its own.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs -o mode=0755 run /run
mkdir -p /dev/pts /dev/shm /run/lock
mount -t devpts -o gid=5,mode=0620,ptmxmode=0666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null || :
# As systemd has them: mounts made in one namespace reach those below it.
mount --make-rshared /
hostname weft-vm
ip link set lo up
case $(cat /proc/cmdline) in
*weft.task=shell*)
    . /weft/guest/environment
    cd /weft || exit
    setsid --ctty --wait bash --login </dev/ttyS0 >/dev/ttyS0 2>&1 ;;
*) /weft/guest/run ;;
esac
exec busybox poweroff -f
