//! From the text of a spec to its closed value.

use kic_base::{Platform, Source};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::fault;
use kic_spec::{Spec, World};

use crate::compile::Request;
use crate::not_a_spec::{instead_of, not_a_spec, other_than};

/// The tree of the spec, and what is worth a look in it.
fn parse(request: &Request, world: &dyn World) -> Result<(kic_syntax::File, Diagnostics), Diagnostics> {
    let name = request.spec.display().to_string();
    let bytes = world.read(&request.spec).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            instead_of(&request.spec, world).unwrap_or_else(|| {
                Diagnostic::new(&code::FILE_NOT_FOUND, format!("`{name}` does not exist"))
                    .help("give the path of a spec")
            })
        } else {
            Diagnostic::new(&code::UNREADABLE_FILE, format!("`{name}` cannot be read: {error}"))
                .help("check that it is a file, and that you may read it")
        }
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        not_a_spec(&name, error.as_bytes()).unwrap_or_else(|| {
            Diagnostic::new(&code::UNREADABLE_FILE, format!("`{name}` is not UTF-8 text"))
                .help("save it as UTF-8")
        })
    })?;
    let (file, syntax) = kic_syntax::parse(&Source::new(name, text));
    match other_than(&file) {
        Some(told) => Err(told.into()),
        None => syntax.or(file),
    }
}

/// The closed value of a spec: everything that can be known without looking at other files than modules and
/// lists of images.
///
/// # Errors
/// Every diagnostic of the texts.
pub fn resolve(request: &Request, world: &dyn World) -> Result<(Spec, Diagnostics), Diagnostics> {
    let file = parse(request, world)?;
    let (spec, more) = kic_spec::resolve_with(&file.0, &request.spec, &request.settings, world)?;
    let mut warnings = file.1;
    warnings.append(more);
    Ok((spec, warnings))
}

/// The spec as a closed tree, with nothing left to evaluate, for one platform; `None` for the first of the spec. With
/// it, which values took the place of others.
///
/// # Errors
/// Every diagnostic of the texts.
pub fn evaluate(
    request: &Request,
    platform: Option<&Platform>,
    world: &dyn World,
) -> Result<(kic_syntax::Node, Vec<kic_spec::Override>, Diagnostics), Diagnostics> {
    let (file, mut warnings) = parse(request, world)?;
    let (spec, more) = kic_spec::resolve_with(&file, &request.spec, &request.settings, world)?;
    warnings.append(more);
    let platform = platform.or_else(|| spec.platforms.first().map(|platform| &platform.value));
    let Some(platform) = platform else { return Err(fault::internal("a spec without a platform").into()) };
    let (node, overrides, more) = kic_spec::evaluate_cluster(&file, platform, &request.settings, world)?;
    warnings.append(more);
    Ok((node, overrides, warnings))
}
