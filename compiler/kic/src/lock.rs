//! Locks: what tags and URLs stood for.

use std::path::PathBuf;

use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::{Context, LockFile, fault};
use kic_spec::World;

use crate::compile::{Request, with_sources};
use crate::resolve::resolve;
use crate::roots;

/// Resolves everything that the lock pins, and writes it.
///
/// # Errors
/// As [`compile`].
pub async fn lock(
    request: &Request,
    world: &dyn World,
    context: &Context,
) -> Result<(Vec<LockFile>, Diagnostics), Diagnostics> {
    let context = &with_sources(request, context);
    let (spec, mut warnings) = resolve(request, world)?;
    let gathered = kic_exec::gather(&spec, &request.gather, world, context).await?;
    context.sources.save(&context.store);
    warnings.append(gathered.warnings);
    write_locks(&gathered.locks)?;
    roots::record_locked(request, &gathered.locks, context)?;
    Ok((gathered.locks, warnings))
}

/// Writes the locks that changed, each in one step, and says which ones.
///
/// # Errors
/// `output-unwritable`.
pub fn write_locks(locks: &[LockFile]) -> Result<Vec<PathBuf>, Diagnostics> {
    let mut written = Vec::new();
    for file in locks.iter().filter(|file| file.is_changed()) {
        if let Err(error) = kic_oci::replace_file(&file.path, file.lock.to_text().as_bytes()) {
            if fault::is_full(&error) {
                return Err(fault::input_output(error, &format!("writing `{}`", file.path.display())).into());
            }
            return Err(Diagnostic::new(
                &code::OUTPUT_UNWRITABLE,
                format!("`{}` cannot be written: {error}", file.path.display()),
            )
            .help("check who owns the folder; with `--locked` nothing is written there")
            .into());
        }
        written.push(file.path.clone());
    }
    Ok(written)
}
