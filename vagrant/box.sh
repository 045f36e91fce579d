#!/usr/bin/env bash
# Makes Vagrant boxes for libvirt from Debian packages, one for each kernel: no image is downloaded.
#   vagrant/box.sh [KERNEL...]        6.1 or 6.12; default: 6.12
# Needs root, and the packages of `.ci/setup.sh vagrant`. A box stands in ~/.cache/weft/vm/boxes under a name made of the
# versions of its packages; what is there is left as it is. Standard output has one line for each: KERNEL FILE.
#   WEFT_VM_MIRROR  the URL of a Debian mirror with debian/ and debian-security/; default: what this machine's own apt uses
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

readonly SUITE=bookworm
readonly CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/weft/vm/boxes
# The boot loader reads sectors 1 to 2047, the file system begins behind them.
readonly DISK_SIZE=6G FIRST_SECTOR=2048
declare -rA KERNEL_PACKAGE=([6.1]=linux-image-cloud-amd64 [6.12]=linux-image-6.12-cloud-amd64)
# What makes a minimal Debian a machine that Vagrant can drive.
readonly MACHINE_PACKAGES=(systemd-sysv udev dbus kmod zstd initramfs-tools openssh-server sudo e2fsprogs grub-pc-bin grub-common)

say() { printf 'box: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

mapfile -t node_packages < <(sed '/^#/d' "$here"/packages*)
readonly node_packages

# The versions that would be installed, and what is done with them: anything else would be the same box.
key() {
    local package=$1 versions
    versions=$(apt-cache policy "$package" "${MACHINE_PACKAGES[@]}" "${node_packages[@]}" | grep -A 2 '^[^ ]' | grep -v Installed)
    printf '%s\n' "$versions" "$(cat "$here/box.sh" "$here"/packages*)" | sha256sum | cut -c 1-12
}

sources() {
    local mirrors debian security
    mirrors=$("$here/../lab/src/vm/mirror.sh" debian debian-security)
    { read -r debian && read -r security; } <<< "$mirrors"
    printf 'deb %s %s main\n' "$debian" "$SUITE" "$debian" "$SUITE-updates" "$security" "$SUITE-security"
}

# Before any kernel comes: only the drivers that the root disk needs, since unpacking is what software emulation is slow at.
initramfs_hook() {
    cat <<'HOOK'
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
printf '%s\n' MODULES=list COMPRESS=zstd > "$1/etc/initramfs-tools/conf.d/weft"
printf '%s\n' virtio_pci virtio_blk > "$1/usr/share/initramfs-tools/modules.d/weft"
HOOK
}

make_root() { # DIR KERNEL_PACKAGE
    local include lines
    include=$(printf '%s,' "${MACHINE_PACKAGES[@]}" "${node_packages[@]}")$2
    lines=$(sources)
    mmdebstrap --mode=root --variant=minbase --quiet --include="$include" \
        --essential-hook="$(initramfs_hook)" "$SUITE" "$1" - <<< "$lines" >&2
}

# Vagrant comes in over eth0 with the key that everybody knows, and replaces it; eth1 and the host name are its own to set.
let_vagrant_in() {
    local root=$1
    chroot "$root" useradd --create-home --shell /bin/bash --groups sudo vagrant
    echo 'vagrant ALL=(ALL) NOPASSWD: ALL' > "$root/etc/sudoers.d/vagrant"
    chmod 0440 "$root/etc/sudoers.d/vagrant"
    install -d -m 0700 "$root/home/vagrant/.ssh"
    # The path has vagrant's version in it.
    install -m 0600 /usr/share/rubygems-integration/all/gems/vagrant-[0-9]*/keys/vagrant.pub "$root/home/vagrant/.ssh/authorized_keys"
    chroot "$root" chown -R vagrant: /home/vagrant/.ssh
    echo 'UseDNS no' > "$root/etc/ssh/sshd_config.d/weft.conf"
}

settle_machine() {
    local root=$1
    printf '[Match]\nName=eth0\n\n[Network]\nDHCP=ipv4\n\n[DHCPv4]\nClientIdentifier=mac\n' > "$root/etc/systemd/network/80-eth0.network"
    echo 'LABEL=weft / ext4 defaults,noatime 0 1' > "$root/etc/fstab"
    echo weft > "$root/etc/hostname"
    : > "$root/etc/machine-id"
    chroot "$root" systemctl --quiet enable systemd-networkd ssh
    # Nothing waits for them, and each costs seconds under software emulation. containerd and etcd start when Kubernetes is asked for.
    chroot "$root" systemctl --quiet mask systemd-networkd-wait-online apt-daily.timer apt-daily-upgrade.timer \
        e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer logrotate.timer man-db.timer
    chroot "$root" systemctl --quiet disable containerd etcd
    rm -rf "${root:?}"/var/cache/apt/* "${root:?}"/var/lib/apt/lists/* "${root:?}"/usr/share/{doc,man,locale}/*
}

boot_menu() {
    mkdir -p "$1/boot/grub"
    cat > "$1/boot/grub/grub.cfg" <<'MENU'
linux /vmlinuz root=LABEL=weft ro console=ttyS0 net.ifnames=0 quiet mitigations=off random.trust_cpu=on
initrd /initrd.img
boot
MENU
}

# A disk without loop devices: file system and boot loader are written into the file at their offsets.
make_disk() { # ROOT FILE
    local root=$1 file=$2 core=$2.core
    truncate -s "$DISK_SIZE" "$file"
    sfdisk --quiet "$file" <<< "label: dos
start=$FIRST_SECTOR, type=83, bootable"
    # GRUB 2.06 does not read file systems with these two features.
    mke2fs -q -t ext4 -L weft -O ^metadata_csum_seed,^orphan_file -m 1 -E "offset=$((FIRST_SECTOR * 512))" -d "$root" "$file" \
        "$((($(stat -c %s "$file") - FIRST_SECTOR * 512) / 1024))k"
    chroot "$root" grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o /boot/core.img \
        biosdisk part_msdos ext2 normal linux configfile
    mv "$root/boot/core.img" "$core"
    dd if="$core" of="$file" bs=512 seek=1 conv=notrunc status=none
    # The rest of that sector is the partition table.
    dd if="$root/usr/lib/grub/i386-pc/boot.img" of="$file" bs=440 count=1 conv=notrunc status=none
    rm "$core"
}

pack() { # DISK BOX
    local dir
    dir=$(mktemp -d "$(dirname "$1")/pack.XXXXXX")
    qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd "$1" "$dir/box.img"
    echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": '"${DISK_SIZE%G}"'}' > "$dir/metadata.json"
    printf 'Vagrant.configure("2") do |config|\nend\n' > "$dir/Vagrantfile"
    tar -C "$dir" -cf "$2.part" metadata.json Vagrantfile box.img
    mv "$2.part" "$2"
}

# Older boxes of the same kernel are of no more use.
drop_old() { # KERNEL BOX
    find "$CACHE" -maxdepth 1 -name "$1-*" ! -path "${2%.box}.*" -delete
}

make_box() {
    local kernel=$1 package=${KERNEL_PACKAGE[$1]:-} box started=$SECONDS
    [ -n "$package" ] || die "no kernel $kernel: there are ${!KERNEL_PACKAGE[*]}"
    box=$CACHE/$kernel-$(key "$package").box
    if [ ! -e "$box" ]; then
        [ "$(id -u)" = 0 ] || die "making a box needs root"
        say "making one with $package from Debian packages, two to four minutes"
        scratch=$(mktemp -d "$CACHE/new.XXXXXX")
        make_root "$scratch/root" "$package"
        let_vagrant_in "$scratch/root"
        settle_machine "$scratch/root"
        boot_menu "$scratch/root"
        # For finding out whether KVM can run it (sandbox.sh).
        cp -L "$scratch/root/vmlinuz" "${box%.box}.vmlinuz"
        make_disk "$scratch/root" "$scratch/disk"
        pack "$scratch/disk" "$box"
        rm -rf "$scratch"
        drop_old "$kernel" "$box"
        say "done in $((SECONDS - started)) s: $box"
    fi
    echo "$kernel $box"
}

mkdir -p "$CACHE"
scratch=
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT
[ $# -gt 0 ] || set -- 6.12
for kernel in "$@"; do
    make_box "$kernel"
done
