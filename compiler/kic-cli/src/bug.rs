//! A panic is a bug in kic, and ends with the status and the code of one.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};

use kic_diag::Diagnostic;
use kic_exec::fault;

use crate::arguments::{Color, Format, Global};
use crate::terminal::Terminal;

/// Where the last panic was.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

/// Runs `work`, and gives its exit status; that of a bug where it panics.
pub fn caught(format: Format, work: impl FnOnce() -> u8) -> u8 {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string);
        *PLACE.lock().unwrap_or_else(PoisonError::into_inner) = place;
        // Standard error is one JSON value where that was asked for. People get the trace, too.
        if format != Format::Json {
            print(panic);
        }
    }));
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let global = Global { format, quiet: false, verbose: 0, color: Color::Auto, store: None };
        let diagnostics = told(panic.as_ref()).into();
        Terminal::new(&global).diagnostics(&diagnostics);
        diagnostics.exit_status()
    })
}

fn told(panic: &(dyn Any + Send)) -> Diagnostic {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic");
    let place = PLACE.lock().unwrap_or_else(PoisonError::into_inner).take();
    fault::internal(match place {
        Some(place) => format!("{text}, at {place}"),
        None => text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_with_the_status_of_a_bug_and_says_where_it_was() {
        assert_eq!(caught(Format::Json, || 1), 1);
        assert_eq!(caught(Format::Json, || panic!("it is {}", "broken")), 3);
        let panic = panic::catch_unwind(|| panic!("it is {}", "broken")).unwrap_err();
        let message = told(panic.as_ref()).message;
        assert!(message.starts_with("it is broken, at compiler/kic-cli/src/bug.rs:"), "{message}");
        // What other tests fail with is printed as ever.
        drop(panic::take_hook());
    }
}
