use std::fmt;

use kic_base::Digest;

use super::Validation;
use super::finding::{Findings, Place, Problem};
use super::json::{Json, Object};
use super::syntax::is_time;
use super::visitor::LayerVisitor;
use crate::unpack::printable;

/// What a configuration says that others must agree with.
#[derive(Clone)]
pub(super) struct ConfigFacts {
    pub(super) platform: PlatformText,
    /// Nothing where one cannot be read.
    diff_ids: Vec<Option<Digest>>,
    /// How many entries of the history made a layer; nothing without a history.
    history: Option<usize>,
}

/// A platform as it is spelt. What is missing agrees with anything.
#[derive(Clone, Default)]
pub(super) struct PlatformText {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

impl<V: LayerVisitor> Validation<'_, V> {
    /// Checks a configuration ("Image Configuration").
    pub(super) fn config(&mut self, place: &Place, json: &Json) -> Option<ConfigFacts> {
        let findings = &mut self.findings;
        let object = json.object(place, findings)?;
        let platform = PlatformText::read(&object, findings);
        object.string("author", false, findings);
        time(&object, findings);
        if object.has("config")
            && let Some(run) = object.object("config", false, findings)
        {
            run_config(&run, findings);
        }
        let history = history(&object, findings);
        let diff_ids = diff_ids(&object, findings);
        Some(ConfigFacts { platform, diff_ids: diff_ids?, history })
    }

    /// Checks that a configuration tells of the layers that the manifest has, given the digests of their
    /// decompressed bytes as far as those were looked at.
    pub(super) fn same_layers(&mut self, place: &Place, facts: &ConfigFacts, layers: &[Option<Digest>]) {
        let place_of_ids = place.member("rootfs").member("diff_ids");
        if facts.diff_ids.len() != layers.len() {
            let problem = Problem::DiffIdCount { layers: layers.len(), diff_ids: facts.diff_ids.len() };
            self.findings.add(place_of_ids.clone(), problem);
        }
        for (position, (said, found)) in facts.diff_ids.iter().zip(layers).enumerate() {
            if let (Some(said), Some(found)) = (said, found)
                && said != found
            {
                self.findings.add(place_of_ids.item(position), Problem::DiffId { actual: *found });
            }
        }
        if let Some(history) = facts.history.filter(|history| *history != layers.len()) {
            let problem = Problem::HistoryCount { layers: layers.len(), history };
            self.findings.add(place.member("history"), problem);
        }
    }
}

impl PlatformText {
    /// Reads and checks the members of a platform, which a configuration and a descriptor have alike.
    pub(super) fn read(object: &Object<'_>, findings: &mut Findings) -> Self {
        let mut text =
            |name, required| object.string(name, required, findings).map(|text| printable(text.as_bytes()));
        let platform = Self {
            architecture: text("architecture", true),
            os: text("os", true),
            variant: text("variant", false),
        };
        text("os.version", false);
        object.strings("os.features", findings);
        platform
    }

    pub(super) fn agrees(&self, other: &Self) -> bool {
        let agree =
            |one: &Option<String>, other: &Option<String>| one.is_none() || other.is_none() || one == other;
        agree(&self.os, &other.os)
            && agree(&self.architecture, &other.architecture)
            && agree(&self.variant, &other.variant)
    }
}

impl fmt::Display for PlatformText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
        write!(f, "{}/{}", text(&self.os), text(&self.architecture))?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

fn diff_ids(object: &Object<'_>, findings: &mut Findings) -> Option<Vec<Option<Digest>>> {
    let rootfs = object.object("rootfs", true, findings)?;
    if let Some(kind) = rootfs.string("type", true, findings)
        && kind != "layers"
    {
        let problem = Problem::Value { found: printable(kind.as_bytes()), expected: "`layers`" };
        findings.add(rootfs.place.member("type"), problem);
    }
    let items = rootfs.array("diff_ids", true, findings)?;
    let mut digest = |(place, item): (Place, &Json)| {
        let text = item.text(&place, findings)?;
        let digest = text.parse().ok();
        if digest.is_none() {
            let expected = "`sha256:` and 64 lower-case hexadecimal digits";
            findings.add(place, Problem::Value { found: printable(text.as_bytes()), expected });
        }
        digest
    };
    Some(items.into_iter().map(&mut digest).collect())
}

fn history(object: &Object<'_>, findings: &mut Findings) -> Option<usize> {
    if !object.has("history") {
        return None;
    }
    let mut layers = 0;
    for (place, item) in object.array("history", false, findings)? {
        let entry = item.object(&place, findings)?;
        time(&entry, findings);
        for name in ["created_by", "author", "comment"] {
            entry.string(name, false, findings);
        }
        layers += usize::from(!entry.truth("empty_layer", findings).unwrap_or(false));
    }
    Some(layers)
}

/// The execution parameters, the member `config`. Docker writes `null` for what is empty.
fn run_config(run: &Object<'_>, findings: &mut Findings) {
    for name in ["User", "WorkingDir", "StopSignal"] {
        if run.has(name) {
            run.string(name, false, findings);
        }
    }
    for name in ["Entrypoint", "Cmd"] {
        if run.has(name) {
            run.strings(name, findings);
        }
    }
    if run.has("Env") {
        for (place, variable) in run.strings("Env", findings) {
            if variable.find('=').is_none_or(|at| at == 0) {
                let found = printable(variable.as_bytes());
                findings.add(place, Problem::Value { found, expected: "`NAME=VALUE`" });
            }
        }
    }
    for name in ["ExposedPorts", "Volumes"] {
        if run.has(name)
            && let Some(set) = run.object(name, false, findings)
        {
            for (key, value) in set.members() {
                value.object(&set.place.member(key), findings);
            }
        }
    }
    if run.has("Labels") {
        run.string_map("Labels", findings);
    }
}

fn time(object: &Object<'_>, findings: &mut Findings) {
    if let Some(text) = object.string("created", false, findings)
        && !is_time(text)
    {
        let problem = Problem::Value { found: printable(text.as_bytes()), expected: "a time of RFC 3339" };
        findings.add(object.place.member("created"), problem);
    }
}
