#!/usr/bin/env bash
# Makes an image archive without a container engine: `make image`.
#   deploy/image.sh FOLDER   reads FOLDER/weft, FOLDER/weft-cni and FOLDER/kubensenter (static), writes target/image/root and target/image/weft.tar
# iptables comes from this machine's package, with the libraries it is linked to: a node need not have it, and the image
# needs no mount of the node's root. It is the nf_tables variant, which is the default of every current distribution.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly from=$1 out=target/image
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
readonly name=localhost/weft:$version root=$out/root
die() {
    printf 'image: %s\n' "$*" >&2
    exit 1
}

for program in weft weft-cni kubensenter; do
    [ -x "$from/$program" ] || die "no $from/$program: make image builds it"
    ! readelf -l "$from/$program" | grep -q 'Requesting program interpreter' ||
        die "$from/$program is not static, and the image has no libraries for it"
done
iptables=$(command -v xtables-nft-multi || PATH=/usr/sbin:/sbin command -v xtables-nft-multi) ||
    die 'no xtables-nft-multi: install the package iptables'

rm -rf "$out"
mkdir -p "$root"/{usr/bin,usr/sbin,etc,tmp,run,var/lib}
install -m 755 "$from/weft" "$from/weft-cni" "$from/kubensenter" "$root/usr/bin/"
install -m 755 "$iptables" "$root/usr/sbin/"
for link in {iptables,ip6tables}{,-save,-restore}; do
    ln -s xtables-nft-multi "$root/usr/sbin/$link"
done
# Where the program looks for them itself; all of them, since iptables-save must print whatever rules a node has.
modules=$(dirname "$(find /usr/lib /lib -name libxt_conntrack.so -print -quit)")
[ -d "$modules" ] || die 'no xtables modules (libxt_*.so): install the package iptables'
mkdir -p "$root$modules"
cp -P "$modules"/lib{xt,ipt,ip6t}_*.so "$root$modules/"
ldd "$iptables" "$modules"/lib{xt,ipt,ip6t}_*.so | sed -n 's/^.*\(=> \|^\t\)\(\/[^ ]*\) (0x.*/\2/p' | sort -u |
    while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
printf 'root:x:0:0:root:/:/usr/bin/weft\nweft:x:65532:65532:weft:/:/usr/bin/weft\n' >"$root/etc/passwd"

case $(uname -m) in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
*) architecture=$(uname -m) ;;
esac

# The same content makes the same archive.
pack() { tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu -C "$1" -cf "$2" "${@:3}"; }
stage=$out/stage
mkdir -p "$stage"
pack "$root" "$stage/layer.tar" .
layer=$(sha256sum "$stage/layer.tar" | cut -d' ' -f1)
mv "$stage/layer.tar" "$stage/$layer.tar"
cat >"$stage/config.json" <<JSON
{"architecture":"$architecture","os":"linux","created":"1970-01-01T00:00:00Z",
"config":{"Entrypoint":["/usr/bin/weft"],"Env":["PATH=/usr/bin:/usr/sbin"],"WorkingDir":"/"},
"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"make image"}]}
JSON
config=$(sha256sum "$stage/config.json" | cut -d' ' -f1)
mv "$stage/config.json" "$stage/$config.json"
printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["%s.tar"]}]\n' "$config" "$name" "$layer" >"$stage/manifest.json"
pack "$stage" "$out/weft.tar" manifest.json "$config.json" "$layer.tar"
rm -rf "$stage"
printf 'image: %s in %s (%s)\n' "$name" "$out/weft.tar" "$(du -h "$out/weft.tar" | cut -f1)"
