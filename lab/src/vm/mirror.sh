#!/usr/bin/env bash
# Where Debian's packages come from: mirror.sh ARCHIVE...
# ARCHIVE is debian or debian-security; the URL of each is a line of the output.
#   WEFT_VM_MIRROR   the URL of a mirror with debian/ and debian-security/; default: that of this machine's own apt
set -euo pipefail

# As the archives' Release files say it. A mirror may call its folders as it likes.
declare -rA LABEL=([debian]=Debian [debian-security]=Debian-Security)

for archive in "$@"; do
    if [ -n "${WEFT_VM_MIRROR:-}" ]; then
        echo "${WEFT_VM_MIRROR%/}/$archive"
        continue
    fi
    # Other repositories for Debian have an origin of their own. Nothing is known where `apt-get update` never ran.
    urls=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' "Label: ${LABEL[$archive]}" || true)
    url=${urls%%$'\n'*}
    [ -n "$url" ] || {
        echo "apt on this machine knows no mirror with Debian's archive $archive: run apt-get update if this is Debian, or set" \
            "WEFT_VM_MIRROR to the URL of a mirror that has debian/ and debian-security/ below it" >&2
        exit 1
    }
    echo "${url%/}"
done
