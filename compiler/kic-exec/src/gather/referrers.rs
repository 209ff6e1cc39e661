//! What refers to an image: signatures, attestations, bills of materials.

use std::collections::{BTreeMap, BTreeSet};

use kic_base::{Digest, ImageReference, Platform, Span, Spanned};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{BlobFacts, Referral, ReferrerFacts};
use kic_oci::model::{Descriptor, Document, Index, Manifest, media_types};
use kic_registry::{Registries, RegistryError};
use kic_spec::ReferrerPin;

use super::pins::Pins;
use crate::context::Context;
use crate::documents::{Documents, blob_facts};
use crate::fault;

/// The annotations by which BuildKit marks an attestation in an index, and what it is about.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// The tags that cosign makes of a digest.
const COSIGN: [&str; 3] = ["sig", "att", "sbom"];

/// So many things may refer to one image, directly or through each other.
const MOST: usize = 1024;

/// What may be referred to: the root of an image, and the manifests of the platforms asked for.
pub(super) fn subjects(
    root: &BlobFacts,
    manifests: &BTreeMap<Platform, (BlobFacts, Manifest)>,
) -> BTreeSet<Digest> {
    manifests.values().map(|(blob, _)| blob.digest).chain([root.digest]).collect()
}

/// The attestations that the index itself holds.
pub(super) async fn inside(
    index: &Index,
    subjects: &BTreeSet<Digest>,
    documents: &Documents<'_>,
) -> Result<Vec<ReferrerFacts>, Diagnostics> {
    let mut found = Vec::new();
    for child in &index.manifests {
        let is_attestation =
            child.annotations.get(REFERENCE_TYPE).is_some_and(|kind| kind == "attestation-manifest");
        let subject = child.annotations.get(REFERENCE_DIGEST).and_then(|digest| digest.parse().ok());
        if let (true, Some(subject)) = (is_attestation, subject.filter(|subject| subjects.contains(subject)))
        {
            found.push(facts(subject, Referral::Inside, &blob_facts(child), documents).await?);
        }
    }
    Ok(found)
}

/// What refers to an image of a registry: what is pinned, else what the registry says.
pub(super) async fn of_image(
    source: &Spanned<kic_spec::ImageSource>,
    reference: &ImageReference,
    root: &BlobFacts,
    manifests: &BTreeMap<Platform, (BlobFacts, Manifest)>,
    pins: &Pins,
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> Result<BTreeSet<ReferrerPin>, Diagnostics> {
    let subjects = subjects(root, manifests);
    if let Some(pin) = pins.image(reference).filter(|pin| pin.digest == root.digest) {
        let covers = manifests.keys().all(|platform| pin.platforms.contains_key(platform));
        match &pin.referrers {
            Some(known) if covers => return Ok(below(known, subjects)),
            _ => pins.may_change(
                &Spanned::new(reference.to_string(), source.span.clone()),
                "it does not say what refers to the image",
            )?,
        }
    }
    ask(reference, &subjects, &source.span, context, diagnostics).await
}

/// Those of the pins that refer to the subjects, directly or through each other.
fn below(pins: &BTreeSet<ReferrerPin>, mut subjects: BTreeSet<Digest>) -> BTreeSet<ReferrerPin> {
    let mut found = BTreeSet::new();
    loop {
        let more: Vec<&ReferrerPin> =
            pins.iter().filter(|pin| subjects.contains(&pin.subject) && !found.contains(*pin)).collect();
        if more.is_empty() {
            return found;
        }
        subjects.extend(more.iter().map(|pin| pin.digest));
        found.extend(more.into_iter().cloned());
    }
}

/// Asks the registry what refers to the subjects, and to what refers to them.
async fn ask(
    image: &ImageReference,
    subjects: &BTreeSet<Digest>,
    span: &Span,
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> Result<BTreeSet<ReferrerPin>, Diagnostics> {
    let mut pins = BTreeSet::new();
    let mut seen = subjects.clone();
    let mut pending: Vec<Digest> = subjects.iter().copied().collect();
    while let Some(subject) = pending.pop() {
        context.go_on()?;
        let network = context.network(&format!("what refers to {}", image.at(subject)), Some(span))?;
        let ask = async {
            let found = of_subject(image, subject, network).await;
            found.map_err(|error| fault::registry(&error, Some(span)).into())
        };
        let found = context.interruptible(ask).await?;
        for pin in found {
            if !media_types::is_manifest(&pin.media_type) && !media_types::is_index(&pin.media_type) {
                diagnostics.push(left_out(image, &pin, span));
                continue;
            }
            if seen.insert(pin.digest) {
                pending.push(pin.digest);
            }
            pins.insert(pin);
        }
        if pins.len() > MOST {
            return Err(Diagnostic::new(
                &code::REGISTRY_GARBAGE,
                format!("more than {MOST} signatures and the like refer to `{image}`"),
            )
            .at(span, "needed here")
            .help("say `with-referrers=#false` of this image")
            .into());
        }
    }
    Ok(pins)
}

/// What the registry lists for one subject, and what is under cosign's tags, all asked at once.
async fn of_subject(
    image: &ImageReference,
    subject: Digest,
    network: &Registries,
) -> Result<Vec<ReferrerPin>, RegistryError> {
    let tagged = futures::future::join_all(COSIGN.iter().map(|kind| async move {
        let tag = format!("sha256-{}.{kind}", subject.hex());
        let at = ImageReference::new(image.registry(), image.repository(), Some(&tag), None);
        match network.resolve(&at).await {
            Ok(document) => Ok(Some(ReferrerPin {
                subject,
                digest: document.digest,
                media_type: document.media_type,
                size: document.bytes.len() as u64,
                tag: Some(tag),
            })),
            Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }));
    let (listed, tagged) = futures::future::join(network.referrers(image, &subject), tagged).await;
    let mut pins: Vec<ReferrerPin> = listed?
        .into_iter()
        .map(|referrer| ReferrerPin {
            subject,
            digest: referrer.digest,
            media_type: referrer.media_type,
            size: referrer.size,
            tag: None,
        })
        .collect();
    for pin in tagged {
        pins.extend(pin?);
    }
    Ok(pins)
}

/// What pinned referrers are made of.
pub(super) async fn pinned(
    pins: &BTreeSet<ReferrerPin>,
    documents: &Documents<'_>,
) -> Result<Vec<ReferrerFacts>, Diagnostics> {
    let mut found = Vec::new();
    for pin in pins {
        let referral = match &pin.tag {
            Some(tag) => Referral::Tagged(tag.clone()),
            None => Referral::Listed,
        };
        let document = BlobFacts { media_type: pin.media_type.clone(), digest: pin.digest, size: pin.size };
        found.push(facts(pin.subject, referral, &document, documents).await?);
    }
    Ok(found)
}

async fn facts(
    subject: Digest,
    referral: Referral,
    document: &BlobFacts,
    documents: &Documents<'_>,
) -> Result<ReferrerFacts, Diagnostics> {
    let mut facts = ReferrerFacts {
        subject,
        referral,
        documents: vec![document.clone()],
        blobs: Vec::new(),
        artifact_type: None,
        annotations: BTreeMap::new(),
    };
    match documents.described(document).await? {
        Document::Manifest(manifest) => {
            facts.artifact_type =
                manifest.artifact_type.clone().or_else(|| Some(manifest.config.media_type.clone()));
            facts.annotations.clone_from(&manifest.annotations);
            facts.blobs.extend(blobs(&manifest));
        }
        Document::Index(index) => {
            facts.artifact_type.clone_from(&index.artifact_type);
            facts.annotations.clone_from(&index.annotations);
            for child in &index.manifests {
                let manifest = documents.manifest(child).await?;
                facts.documents.push(blob_facts(child));
                facts.blobs.extend(blobs(&manifest));
            }
        }
    }
    Ok(facts)
}

fn blobs(manifest: &Manifest) -> impl Iterator<Item = BlobFacts> {
    let has_bytes = |blob: &&Descriptor| !media_types::is_foreign_layer(&blob.media_type);
    std::iter::once(&manifest.config).chain(&manifest.layers).filter(has_bytes).map(blob_facts)
}

fn left_out(image: &ImageReference, pin: &ReferrerPin, span: &Span) -> Diagnostic {
    Diagnostic::new(
        &code::REFERRER_LEFT_OUT,
        format!("{} refers to `{image}`, and is a `{}`, which kic does not read", pin.digest, pin.media_type),
    )
    .at(span, "its referrers come along")
    .help("attach it again with a current tool, which makes an image manifest of it")
}
