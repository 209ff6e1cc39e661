//! The kic program: arguments, the real world, printing and exit codes.
fn main() {}
