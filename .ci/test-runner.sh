#!/usr/bin/env bash
# Runs one test binary for cargo: as root, each test with its time, its output also in $WEFT_TEST_LOGS (test.sh).
set -uo pipefail
name=${1##*/}

# What runs beside already is not run again: its output as it comes, and its end.
if [[ $name == vm-* && -n ${WEFT_VM_RUNS:-} ]]; then
    tail -n +1 -s 0.2 -f --pid="$WEFT_VM_RUNS" "$WEFT_TEST_LOGS/beside.log"
    exit "$(<"$WEFT_TEST_LOGS/beside.code")"
fi
# libtest tells times only to who asks for unstable options and has this variable, which would have cargo build everything anew.
# Machines take turns, so that only one at a time has the time of a test.
[[ $name != vm-* ]] || set -- "$@" --test-threads=1
${WEFT_SUDO:-} env RUSTC_BOOTSTRAP=1 "$@" -Zunstable-options --report-time | tee "$WEFT_TEST_LOGS/$name"
exit "${PIPESTATUS[0]}"
