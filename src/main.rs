//! The program: it ends with the exit code that the command line gives.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

/// Wipes memory before it is freed: a secret passes through buffers of libraries that don't know it
/// for one, such as the HTTP library's when the API is given it.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

fn main() -> ExitCode {
    keyferry::cli::run()
}
