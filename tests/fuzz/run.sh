#!/bin/sh
# Runs every fuzz target, or the ones that are named, for FUZZ_SECONDS (60) each.
set -eu
cd "$(dirname "$0")"

# libFuzzer's instrumentation is an unstable compiler flag; the pinned toolchain stays stable.
export RUSTC_BOOTSTRAP=1
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz

[ $# -gt 0 ] || set -- allowed_domain answer authority client_hello connect endpoint fields framing metadata request_target response rules token_answer
cargo fuzz build --fuzz-dir . --sanitizer none
for target in "$@"; do
    mkdir -p "corpus/$target"
    echo "== $target"
    # The code under test is safe Rust: what an address sanitizer would look for can't happen.
    cargo fuzz run --fuzz-dir . --sanitizer none "$target" "corpus/$target" "seeds/$target" -- \
        -max_total_time="${FUZZ_SECONDS:-60}" -max_len=2048 -timeout=10 -dict=dict/http.dict \
        -print_final_stats=1 -print_funcs=0 -verbosity=0
done
