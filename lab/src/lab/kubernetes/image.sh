# Makes the image archive of one static program: image.sh PROGRAM NAME ARCHIVE
set -euo pipefail
program=$1 name=$2 archive=$3
scratch=$(mktemp -d "$(dirname "$archive")/.image-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/root/tmp" "$scratch/root/etc"
cp "$program" "$scratch/root/"
printf 'root:x:0:0:root:/:/none\nnobody:x:65534:65534:nobody:/:/none\n' >"$scratch/root/etc/passwd"
tar --owner=0 --group=0 --numeric-owner -C "$scratch/root" -cf "$scratch/layer.tar" .
layer=$(sha256sum "$scratch/layer.tar" | cut -d' ' -f1)
case $(uname -m) in aarch64) machine=arm64 ;; *) machine=amd64 ;; esac
printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["/%s"],"Cmd":["pause"],"Env":["PATH=/"],"WorkingDir":"/"},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$machine" "$(basename "$program")" "$layer" >"$scratch/config.json"
printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$name" >"$scratch/manifest.json"
tar -C "$scratch" -cf "$scratch/whole" manifest.json config.json layer.tar
mv "$scratch/whole" "$archive"
