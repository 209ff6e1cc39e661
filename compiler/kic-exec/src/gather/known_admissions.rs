//! What policies made of the images in pods, known from the run before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kic_base::packed::{Reader, put_option, put_text};
use kic_base::{Digest, StableHasher};
use kic_graph::{Admission, BaseFacts, Inputs, KnownAdmissions, RedirectFacts};
use kic_spec::Spec;

use super::known::Known;
use super::memo_key;
use crate::context::Context;

/// What is known of admissions, of a spec and its bases.
#[derive(Debug)]
struct KeptAdmissions(Mutex<Known>);

/// Puts what the last run of this build has found out with the same policies into the inputs, where images are given other
/// names. Gives what the next run may keep of it.
pub(super) fn share(spec: &Spec, inputs: &mut Inputs, context: &Context) -> Option<Admissions> {
    let (mut policies, mut any_mirrors) = (Vec::new(), false);
    each(inputs, &mut |redirects| {
        policies.extend(redirects.policies.iter().map(|facts| facts.policy.digest));
        any_mirrors |= !redirects.mirrors.is_empty();
    });
    // Mirrors alone want to know what pods name, too.
    if policies.is_empty() && !any_mirrors {
        return None;
    }
    // A spec may have others in turn, by its parameters.
    let key = memo_key("kic admissions", spec, context).map(|spec| {
        let mut hasher = StableHasher::new();
        hasher.digest(&spec).list(&policies, |hasher, policy| {
            hasher.digest(policy);
        });
        hasher.finish()
    });
    let known = Arc::new(KeptAdmissions(Mutex::new(Known::open(key, context))));
    let mut next = Some(inputs);
    while let Some(inputs) = next {
        inputs.redirects.known = Some(Arc::clone(&known) as Arc<dyn KnownAdmissions>);
        next = match &mut inputs.base {
            BaseFacts::Spec(inputs) => Some(inputs),
            _ => None,
        };
    }
    Some(Admissions(known))
}

/// Shows the redirects of the spec and of its bases, those that are images among them.
fn each(inputs: &Inputs, show: &mut impl FnMut(&RedirectFacts)) {
    show(&inputs.redirects);
    match &inputs.base {
        BaseFacts::Scratch => {}
        BaseFacts::Spec(inputs) => each(inputs, show),
        BaseFacts::Image(images) => images.values().for_each(|image| show(&image.contents.redirects)),
    }
}

/// What policies made of pods in this run, once the spec is lowered.
#[derive(Debug)]
pub struct Admissions(Arc<KeptAdmissions>);

impl Admissions {
    /// Keeps what the next run needs. Where that does not work, it asks the policies again.
    pub fn save(&self, context: &Context) {
        std::mem::take(&mut *self.0.lock()).save(context);
    }
}

impl KeptAdmissions {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownAdmissions for KeptAdmissions {
    fn find(&self, key: &Digest) -> Option<Admission> {
        let mut known = self.lock();
        let (place, bytes) = known.find(key)?;
        let admission = take(&mut Reader(bytes))?;
        known.keep(place);
        Some(admission)
    }

    fn note(&self, key: Digest, admission: &Admission) {
        let mut bytes = Vec::new();
        put(&mut bytes, admission);
        self.lock().note(key, bytes);
    }
}

fn put(bytes: &mut Vec<u8>, admission: &Admission) {
    let names = match admission {
        Admission::NeverPulled => None,
        Admission::Named { written, becomes } => Some((written, becomes)),
    };
    put_option(bytes, names, |bytes, (written, becomes)| {
        put_text(bytes, written);
        put_text(bytes, becomes);
    });
}

fn take(reader: &mut Reader<'_>) -> Option<Admission> {
    let names = reader.option(|reader| Some((reader.text()?.to_owned(), reader.text()?.to_owned())))?;
    let admission = match names {
        None => Admission::NeverPulled,
        Some((written, becomes)) => Admission::Named { written, becomes },
    };
    reader.0.is_empty().then_some(admission)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_an_admission_is_found_again_and_cut_bytes_are_nothing() {
        let named = Admission::Named { written: "nginx".to_owned(), becomes: "a.b/nginx".to_owned() };
        for admission in [Admission::NeverPulled, named] {
            let mut bytes = Vec::new();
            put(&mut bytes, &admission);
            assert_eq!(take(&mut Reader(&bytes)), Some(admission));
            for length in 0..bytes.len() {
                assert_eq!(take(&mut Reader(&bytes[..length])), None);
            }
            bytes.push(0);
            assert_eq!(take(&mut Reader(&bytes)), None);
        }
    }
}
