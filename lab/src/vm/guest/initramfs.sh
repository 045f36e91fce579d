#!/bin/busybox sh
# /init of the initramfs: loads what the disks need, puts the root file system together and hands over to process 1.
# vda is the root, vdb the kernel's modules, vdc the payload. The host runs them as snapshots: nothing written here stays.
set -e
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox --install -s /bin
export PATH=/bin
trap 'echo "weft-vm: the initramfs failed"; poweroff -f' EXIT
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module"; done < /modules/order
mount -t ext4 /dev/vda /root
mount -t ext4 -o ro /dev/vdb /root/usr/lib/modules
mount -t ext4 /dev/vdc /root/weft
parameter() { sed -n "s/.*weft\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
case $(parameter init) in
systemd)
    init=/lib/systemd/systemd
    # A shell is what systemd's own getty on the console gives.
    if [ "$(parameter task)" = command ]; then
        cp /root/weft/guest/weft-vm.service /root/etc/systemd/system/
        mkdir -p /root/etc/systemd/system/multi-user.target.wants
        ln -s ../weft-vm.service /root/etc/systemd/system/multi-user.target.wants/
    fi ;;
*) init=/weft/guest/init ;;
esac
for at in proc sys dev; do mount --move "/$at" "/root/$at"; done
trap - EXIT
exec switch_root /root "$init"
