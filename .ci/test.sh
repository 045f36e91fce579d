#!/usr/bin/env bash
# All tests, for `make test`: the kernels' virtual machines beside the other tests, and the slowest tests at the end.
# WEFT_SUDO is the command that makes the tests root, if there must be one.
set -uo pipefail
cd "$(dirname "$0")/.."
CARGO=${CARGO:-cargo}
export WEFT_TEST_LOGS=$PWD/target/test-logs
# Most tests wait for something: with a thread for each of two processors these had a third of their time left.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))}
runner=(--config "target.'cfg(all())'.runner='$PWD/.ci/test-runner.sh'")
tests=(test --release --no-fail-fast)

rm -rf "$WEFT_TEST_LOGS"
mkdir -p "$WEFT_TEST_LOGS"
"$CARGO" "${tests[@]}" --no-run || exit

# An emulated machine keeps one processor busy for half of the time that all else takes, which leaves a third of two.
beside() {
    "$CARGO" "${tests[@]}" "${runner[@]}" --test vm >"$WEFT_TEST_LOGS/beside.log" 2>&1
    echo $? >"$WEFT_TEST_LOGS/beside.code"
}
# A process group of its own, so that all of it ends with an interrupted run.
set -m
beside &
vm=$!
set +m
trap '${WEFT_SUDO:-} kill -- "-$vm" 2>/dev/null' EXIT

code=0
# Without those of the documentation, which rustdoc runs by itself.
WEFT_VM_RUNS=$vm "$CARGO" "${tests[@]}" "${runner[@]}" --lib --bins --tests || code=$?
"$CARGO" "${tests[@]}" --doc || code=$?

echo 'The slowest tests:'
for log in "$WEFT_TEST_LOGS"/*-*; do
    suite=${log##*/}
    sed -nE "s/^test (.*) \.\.\. (ok|FAILED) <([0-9.]+)s>$/\3 s ${suite%-*} \1/p" "$log"
done | sort -rn | head -n 10 | while read -r seconds rest; do printf '%8.1f %s\n' "$seconds" "$rest"; done
exit $code
