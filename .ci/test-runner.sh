#!/usr/bin/env bash
# Runs one test binary for cargo: as root, each test with its time, its output also in $WEFT_TEST_LOGS (test.sh).
set -uo pipefail
name=${1##*/}

if [[ $name == vm-* ]]; then
    if [ -n "${WEFT_VM_RUNS:-}" ]; then
        echo 'runs beside the others; what it said follows after them'
        exit
    fi
    # Machines take turns: so each test has its own time only.
    set -- "$@" --test-threads=1
fi
# libtest tells times only to who asks for unstable options and has this variable, which would have cargo build everything anew.
${WEFT_SUDO:-} env RUSTC_BOOTSTRAP=1 "$@" -Zunstable-options --report-time | tee "$WEFT_TEST_LOGS/$name"
exit "${PIPESTATUS[0]}"
