//! Lowers the closed value to derivations, each with a digest over all its inputs. No I/O.

mod readiness_script;

pub use readiness_script::{readiness_json, readiness_script};
