//! The program: what its environment says flows in, its exit code flows out. Everything that it does is in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    nearside_proxy::main()
}
