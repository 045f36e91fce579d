#!/bin/sh
# Runs the command; its output and its end go to the host by virtio ports of their own, so that the kernel's messages on
# the console do not come between.
modprobe -q virtio_console || :
port() {
    for found in /sys/class/virtio-ports/*/name; do
        # Without any port the pattern itself is left.
        if [ -e "$found" ] && [ "$(cat "$found")" = "weft.$1" ]; then
            found=${found%/name}
            echo "/dev/${found##*/}"
            return
        fi
    done
    return 1
}
# They appear some milliseconds after their driver; the host's deadline ends this.
until control=$(port control) && stdout=$(port stdout) && stderr=$(port stderr); do sleep 0.05; done
exec 3>"$control"
echo "started $(cut -d ' ' -f 1 /proc/uptime)" >&3
. /weft/guest/environment
cd /weft || exit
# Descriptor 3 stays here: what the command leaves running does not hold it.
sh /weft/guest/command </dev/null >"$stdout" 2>"$stderr" 3>&-
echo "exit $?" >&3
