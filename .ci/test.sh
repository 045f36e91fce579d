#!/usr/bin/env bash
# All tests, for `make test`: the kernels' virtual machines beside the other tests, and the slowest tests at the end.
# WEFT_SUDO is the command that makes the tests root, if there must be one.
set -uo pipefail
cd "$(dirname "$0")/.."
CARGO=${CARGO:-cargo}
export WEFT_TEST_LOGS=$PWD/target/test-logs
# Most tests wait for something: with a thread for each of two processors these had a third of their time left.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))}
tests=(test --release --no-fail-fast)
runner=(--config "target.'cfg(all())'.runner='$PWD/.ci/test-runner.sh'")

rm -rf "$WEFT_TEST_LOGS"
mkdir -p "$WEFT_TEST_LOGS"
: >"$WEFT_TEST_LOGS/beside.log"
"$CARGO" "${tests[@]}" --no-run || exit

# An emulated machine keeps one processor busy for half of the time that all else takes, which leaves a third of two. In a process
# group of its own, so that all of it ends with an interrupted run.
set -m
"$CARGO" "${tests[@]}" "${runner[@]}" --test vm >>"$WEFT_TEST_LOGS/beside.log" 2>&1 &
vm=$!
set +m
trap '${WEFT_SUDO:-} kill -- "-$vm" 2>/dev/null' EXIT

code=0
# Without those of the documentation, which rustdoc runs by itself.
WEFT_VM_RUNS=yes "$CARGO" "${tests[@]}" "${runner[@]}" --lib --bins --tests || code=$?
"$CARGO" "${tests[@]}" --doc || code=$?
tail -n +1 -s 0.2 -f --pid="$vm" "$WEFT_TEST_LOGS/beside.log"
wait "$vm" || code=$?

echo 'The slowest tests:'
for log in "$WEFT_TEST_LOGS"/*-*; do
    suite=${log##*/}
    sed -nE "s/^test (.*) \.\.\. (ok|FAILED) <([0-9.]+)s>$/\3 ${suite%-*} \1/p" "$log"
done | sort -rn | head -n 10 | while read -r seconds rest; do printf '%8.1f s  %s\n' "$seconds" "$rest"; done
exit "$code"
