use kic_diag::{Diagnostic, Diagnostics, Severity, declared as code};

use crate::compile::Compiled;

/// How many times the work is done again. Each time at least one damaged blob has been set aside, so it takes a store
/// that is damaged all over to come to this end; the next run then goes on.
const TIMES: usize = 64;

/// Does the work, and again when damage in the store was in its way: what is damaged is set aside when it is found,
/// so that it is fetched or built anew the next time. A warning tells of each.
///
/// # Errors
/// Those of the work, and the damage that was found before them.
pub(crate) async fn heal(
    mut work: impl AsyncFnMut() -> Result<Compiled, Diagnostics>,
) -> Result<Compiled, Diagnostics> {
    let mut found: Vec<Diagnostic> = Vec::new();
    for _ in 0..TIMES {
        match work().await {
            Ok(mut compiled) => {
                compiled.warnings.extend(found.into_iter().map(healed));
                return Ok(compiled);
            }
            Err(diagnostics) if is_damage(&diagnostics) => {
                found.extend(diagnostics.iter().filter(|one| one.code == &code::STORE_CORRUPT).cloned());
            }
            Err(mut diagnostics) => {
                diagnostics.extend(found);
                return Err(diagnostics);
            }
        }
    }
    work().await
}

/// Whether nothing but damage in the store was in the way.
fn is_damage(diagnostics: &Diagnostics) -> bool {
    diagnostics.iter().all(|one| one.code.severity != Severity::Error || one.code == &code::STORE_CORRUPT)
}

fn healed(damage: Diagnostic) -> Diagnostic {
    Diagnostic::new(&code::STORE_HEALED, damage.message).help(
        "what was damaged was fetched or built anew, and the image is the right one; if it happens again, check the disk",
    )
}
