//! What the proof says of names: every image that the cluster will ask for is answered under the name that policies and
//! mirrors make of it.

use std::collections::BTreeMap;

use kic_base::{ImageReference, Span, closest};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_manifest::Confidence;
use kic_redirect::{Mirror, Operation, Pod, Policy, Problem, admit, asked};

use crate::closure::{Available, first_line};
use crate::inputs::{Inputs, Need};
use crate::redirects::{Verdict, base_verdicts};

/// So many places of one finding are shown.
const SHOWN: usize = 3;

/// Reports what `verdicts`, one list for each need, have found; each finding once, with the first places.
pub(crate) fn prove_names(
    inputs: &Inputs,
    verdicts: &[Vec<Verdict>],
    available: &Available,
    diagnostics: &mut Diagnostics,
) {
    for (problem, said) in &inputs.redirects.problems {
        let diagnostic = Diagnostic::new(
            &code::REDIRECT_UNKNOWN,
            format!("a file of mirrors cannot be judged: {}", problem.message),
        );
        diagnostics.push(
            labelled(
                diagnostic.at(&problem.span, "here"),
                [(&first_line(said), "brought in by this".to_owned())],
            )
            .help("what nodes ask for because of it is not proven"),
        );
    }
    let mut findings: Vec<(&Verdict, Vec<&Need>)> = Vec::new();
    for (need, verdicts) in inputs.needs.iter().zip(verdicts) {
        let is_proven = need.confidence == Confidence::Certain
            && !available.excluded.contains(&need.reference)
            && !available.assumed.contains(&need.reference)
            && !inputs.allow_missing.contains(&need.reference);
        for verdict in verdicts.iter().filter(|_| is_proven) {
            match findings.iter_mut().find(|(other, _)| is_same(other, verdict)) {
                Some((_, needs)) => needs.push(need),
                None => findings.push((verdict, vec![need])),
            }
        }
    }
    let of_bases = base_verdicts(inputs, available);
    for (need, verdict) in of_bases.iter().filter(|(need, _)| need.confidence == Confidence::Certain) {
        match findings.iter_mut().find(|(other, _)| is_same(other, verdict)) {
            Some((_, needs)) => needs.push(need),
            None => findings.push((verdict, vec![need])),
        }
    }
    let facts = inputs.redirects.policies.iter().chain(&available.redirects.policies);
    let made_by: BTreeMap<String, Span> = facts
        .filter(|facts| facts.is_generated)
        .map(|facts| (facts.policy.span.source().name().to_owned(), facts.said.clone()))
        .collect();
    // Where the text of a policy is made from the spec, the place in the spec that makes it.
    let origin = |span: &Span| made_by.get(span.source().name()).filter(|said| *said != span);
    let mut unchanged: Vec<&Need> = Vec::new();
    for (verdict, needs) in findings {
        let at_places = |diagnostic: Diagnostic| {
            let diagnostic = needs
                .iter()
                .take(SHOWN)
                .fold(diagnostic, |diagnostic, need| diagnostic.at(&need.span, need.place()));
            // The line of the spec that brings the first of them.
            match needs.first().filter(|need| need.said != need.span) {
                Some(need) => diagnostic.at(&first_line(&need.said), "brought in here"),
                None => diagnostic,
            }
        };
        let with = |diagnostic: Diagnostic, by: &[(Span, String)]| {
            by.iter().fold(at_places(diagnostic), |diagnostic, (span, label)| {
                let diagnostic = diagnostic.at(span, label.clone());
                match origin(span) {
                    Some(said) => diagnostic.at(&first_line(said), "written here"),
                    None => diagnostic,
                }
            })
        };
        match verdict {
            Verdict::Answered => {}
            Verdict::Unchanged => {
                unchanged.extend(needs.iter().filter(|need| available.has(&need.reference)))
            }
            Verdict::Misses { written, becomes, digest_lost, by } => {
                let lost = if *digest_lost {
                    ", and loses its digest"
                } else {
                    ", and no registry cache answers to that"
                };
                let message = format!("`{written}` becomes `{becomes}`{lost}");
                let diagnostic = with(Diagnostic::new(&code::REDIRECT_MISSES, message), by);
                diagnostics.push(diagnostic.help(help(written, becomes, *digest_lost, available)));
            }
            Verdict::Unstable { written, first, second, by } => {
                let message = format!(
                    "`{written}` becomes `{first}`, and that becomes `{second}` when the pod is changed"
                );
                let diagnostic = with(Diagnostic::new(&code::REDIRECT_UNSTABLE, message), by);
                diagnostics
                    .push(diagnostic.help("make the policy leave names alone that begin with the registry"));
            }
            Verdict::Stopped { policy, problem } => {
                let diagnostic = at_places(stopped(policy, problem));
                let diagnostic = match origin(&problem.span) {
                    Some(said) => diagnostic.at(&first_line(said), "written here"),
                    None => diagnostic,
                };
                diagnostics.push(diagnostic.help(if problem.fails {
                    "mend the policy; `std:redirect` writes one that takes every pod"
                } else {
                    "what becomes of images in such pods is not proven: look at them with the engine itself"
                }));
            }
        }
    }
    if sends_somewhere(inputs, verdicts, available) {
        report_unchanged(&unchanged, inputs, available, diagnostics);
    }
}

/// Whether the cluster sends pulls to the cache at all. A policy that only speaks of images does not.
fn sends_somewhere(inputs: &Inputs, verdicts: &[Vec<Verdict>], available: &Available) -> bool {
    let has_mirrors = !inputs.redirects.mirrors.is_empty() || !available.redirects.mirrors.is_empty();
    let sent = |(need, verdicts): (&Need, &Vec<Verdict>)| {
        verdicts.contains(&Verdict::Answered) && !available.hosts.contains(need.reference.registry())
    };
    let policies: Vec<&Policy> = inputs
        .redirects
        .policies
        .iter()
        .chain(&available.redirects.policies)
        .map(|facts| &facts.policy)
        .collect();
    let (pod, place) = Pod::with("docker.io/library/trial:1", "containers", None);
    // To ask the policies takes longest.
    let after = || admit(&policies, &pod, Operation::Create, &mut Vec::new());
    has_mirrors
        || inputs.needs.iter().zip(verdicts).any(sent)
        || after().is_ok_and(|after| after.image(&place) != pod.image(&place))
}

/// Whether two findings are one: a failure is told once, however many pods it is about.
fn is_same(left: &Verdict, right: &Verdict) -> bool {
    match (left, right) {
        (Verdict::Stopped { problem: left, .. }, Verdict::Stopped { problem: right, .. }) => {
            left.span == right.span && left.message == right.message
        }
        _ => left == right,
    }
}

fn stopped(policy: &str, problem: &Problem) -> Diagnostic {
    let rule = problem.rule.as_ref().map(|rule| format!(", rule `{rule}`,")).unwrap_or_default();
    let (code, verb) = if problem.fails {
        (&code::REDIRECT_FAILS, "fails on a pod")
    } else {
        (&code::REDIRECT_UNKNOWN, "cannot be judged")
    };
    Diagnostic::new(code, format!("{policy}{rule} {verb}: {}", problem.message)).at(&problem.span, "here")
}

fn labelled<'a>(diagnostic: Diagnostic, labels: impl IntoIterator<Item = (&'a Span, String)>) -> Diagnostic {
    labels.into_iter().fold(diagnostic, |diagnostic, (span, label)| diagnostic.at(span, label))
}

fn help(written: &str, becomes: &str, digest_lost: bool, available: &Available) -> String {
    if digest_lost {
        return "make the policy keep what stands behind the path, as `std:redirect` does".to_owned();
    }
    let Ok(wanted) = becomes.parse::<ImageReference>() else {
        return format!("`{becomes}` is no name of an image: mend the policy");
    };
    if !available.hosts.contains(wanted.registry()) && !available.hosts.is_empty() {
        return no_such_host(wanted.registry(), available);
    }
    // The same image under another name says what the policy should make of it.
    let image = written.parse::<ImageReference>().ok();
    let own = image.as_ref().and_then(|image| {
        let tag = image.tag().unwrap_or("latest");
        let names = [
            format!("{}/{}:{tag}", image.registry(), image.repository()),
            format!("{}:{tag}", image.repository()),
        ];
        names.into_iter().find(|name| available.names.contains(name))
    });
    let asked = format!("{}:{}", wanted.repository(), wanted.tag().unwrap_or("latest"));
    let close =
        || closest(&asked, available.names.iter().map(String::as_str).filter(|name| !name.contains('@')));
    match own.as_deref().or_else(close) {
        Some(name) => format!(
            "the cache answers to `{}/{name}`: make the policy or mirror ask for that",
            wanted.registry()
        ),
        None => {
            format!("cache it with `image \"{written}\"` in a `registry` node, or mend the policy or mirror")
        }
    }
}

/// What is told of a base that kic did not build, where names are proven.
pub(crate) fn foreign_base((name, span): (String, Span)) -> Diagnostic {
    let message = format!("`{name}` was not built by kic: the proof of names does not know what it brings");
    Diagnostic::new(&code::BASE_UNREAD, message)
        .at(&span, "its policies, mirrors and manifests are not read")
        .help("what of them decides about images, name in the spec as well; or build the base with kic: `kic init --from` begins with a Kubefile of sealer's")
}

/// Where no cache answers as a host: the one that was likely meant.
fn no_such_host(host: &str, available: &Available) -> String {
    match closest(host, available.hosts.iter().map(String::as_str)) {
        Some(close) => format!("no registry of the spec is `{host}`: did you mean `{close}`?"),
        None => {
            let hosts: Vec<String> = available.hosts.iter().map(|host| format!("`{host}`")).collect();
            format!("no registry of the spec is `{host}`; the caches answer as {}", hosts.join(", "))
        }
    }
}

/// Images that nothing sends to the cache, though it has them.
fn report_unchanged(needs: &[&Need], inputs: &Inputs, available: &Available, diagnostics: &mut Diagnostics) {
    let mut names: Vec<&ImageReference> = Vec::new();
    let mut first: Vec<&Need> = Vec::new();
    for need in needs {
        if !names.contains(&&need.reference) {
            names.push(&need.reference);
            first.push(need);
        }
    }
    let Some(image) = names.first() else { return };
    let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
    let are = if names.len() > 1 { "are" } else { "is" };
    let message = format!(
        "`{image}`{more} {are} asked for at the image's own registry: no policy or mirror sends the pull to the cache"
    );
    let diagnostic =
        first.iter().take(SHOWN).fold(Diagnostic::new(&code::NOT_REDIRECTED, message), |diagnostic, need| {
            diagnostic.at(&need.span, need.place())
        });
    let layers: Vec<String> = available.redirects.unread.iter().map(|name| format!("`{name}`")).collect();
    let diagnostic = match layers.as_slice() {
        [] => diagnostic,
        layers => diagnostic.note(format!(
            "layers of the base that are too large to be read for mirrors: {}",
            layers.join(", ")
        )),
    };
    // A mirror that asks somebody else is most likely meant to ask the cache.
    let mirrors: Vec<Mirror> =
        available.redirects.mirrors.iter().chain(&inputs.redirects.mirrors).cloned().collect();
    let stray = asked(&mirrors, image).ok().and_then(|asked| asked.into_iter().next());
    if let Some(stray) = stray {
        let help = no_such_host(&stray.authority, available);
        diagnostics.push(diagnostic.at(&stray.span, format!("asks `{}`", stray.authority)).help(help));
        return;
    }
    diagnostics.push(diagnostic.help(
        "policies see pods that are made after them, outside of the namespaces that they leave alone: name the image as the \
         cache has it (`rewrite=#true` on its layer), or use `std:redirect` with `engine=\"containerd\"`",
    ));
}
