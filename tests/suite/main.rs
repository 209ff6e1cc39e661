//! The test suite. Cases are files, and a new case is a new file; each module here runs one kind of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, say what they skip, and read the environment"
)]
#![allow(missing_docs, reason = "tests are read, not called")]

mod admissions;
mod architecture;
mod bad_input;
mod book;
mod bounds;
mod charts;
mod check_command;
mod cli;
mod closure;
mod codes;
mod concurrency;
mod containerd;
mod containerd_mirror;
mod crash;
mod diff_command;
mod diff_forms;
mod disk;
mod early_layers;
mod examples;
mod faults;
mod faulty_network;
mod file_systems;
mod image_progress;
mod image_spec;
mod import;
mod incremental;
mod init_terminal;
mod known_graph;
mod language;
mod machine_scripts;
mod memory;
mod policy_schemas;
mod push_command;
mod ranges;
mod real_manifests;
mod redirect;
mod redirect_engines;
mod referrers;
mod registry_errors;
mod reproducible;
mod rewrite;
mod seed;
mod skopeo;
mod stdlib;
mod stock_registry;
mod store_command;
mod store_faults;
mod support;
mod terminal_width;
mod umoci;
mod unfinished;
mod verify_command;
mod wrong_programs;
