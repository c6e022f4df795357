//! `root-ca`: see the library.

use std::io;
use std::process::ExitCode;

use identity::{Clock, SystemClock};
use root_ca::Console;

fn main() -> ExitCode {
    let console = Console::of_process();
    root_ca::run(std::env::args_os(), console, SystemClock.now(), io::stderr())
}
