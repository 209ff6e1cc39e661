//! The fields of mappings: what their names say of what stands below.

use super::candidate::Candidate;
use super::kinds::{
    CONTAINER_LISTS, FIELDS_OF_CONTAINERS, FIELDS_OF_VARIABLES, OUTPUTS, PATTERNS, SETTINGS, SKIPPED, VALUES,
};
use super::walk::{Find, Under, Walk, versioned_beside};
use super::words::{Hint, key_hint, variable_hint, words};
use super::{Confidence, Part, around, gaps, group, schema, settings as setting, sources, variables};
use crate::{Style, Yaml, YamlValue};

impl Walk {
    /// A key of a mapping and its value.
    pub(crate) fn field(&mut self, key: &str, value: &Yaml) {
        if SKIPPED.contains(&key) || (self.kyverno && (PATTERNS.contains(&key) || is_condition(key))) {
            return;
        }
        self.entry(key, |walk| {
            if OUTPUTS.contains(&key) && value.style == Style::Collection {
                walk.at_most(Confidence::Possible, "where it is built and pushed, not run");
            } else if VALUES.contains(&key) && value.style == Style::Collection {
                walk.at_most(Confidence::Likely, "in the values of a chart");
            }
            match key {
                "openAPIV3Schema" => schema::defaults(walk, value),
                "clusterConfiguration" => sources::cluster_configuration(walk, value),
                "metadata" if value.get("annotations").is_some() || value.get("labels").is_some() => {
                    if let Some(annotations) = value.get("annotations") {
                        walk.entry("annotations", |walk| setting::annotations(walk, annotations));
                    }
                }
                "args" | "command" | "arguments" | "extraArgs" | "additionalArgs" | "entrypoint"
                    if value.items().iter().any(|item| item.as_str().is_some())
                        || value.as_str().is_some() =>
                {
                    setting::arguments(walk, value);
                }
                _ if bare(key, CONTAINER_LISTS) && !value.items().is_empty() => {
                    for (place, container) in value.items().iter().enumerate() {
                        walk.item(place, |walk| walk.mapping(container, key, true));
                    }
                }
                "volumes" => {
                    for (place, volume) in value.items().iter().enumerate() {
                        walk.item(place, |walk| {
                            if !sources::image_volume(walk, volume) {
                                walk.node(volume, key);
                            }
                        });
                    }
                    if value.items().is_empty() {
                        walk.node(value, key);
                    }
                }
                _ => walk.node(value, key),
            }
        });
    }

    /// A value under the key `key`, or an item of the list under it.
    pub(crate) fn node(&mut self, node: &Yaml, key: &str) {
        match &node.value {
            YamlValue::Mapping(_) => self.mapping(node, key, false),
            YamlValue::Sequence(items) => {
                let variables = std::mem::replace(&mut self.variables, variables::of_list(items));
                for (place, item) in items.iter().enumerate() {
                    self.item(place, |walk| walk.node(item, key));
                }
                self.variables = variables;
            }
            YamlValue::String(text) => self.string(node, text, key),
            _ => {}
        }
    }

    /// A mapping under `key`, or in a list under it; `container` where that list is one of containers.
    pub(super) fn mapping(&mut self, node: &Yaml, key: &str, container: bool) {
        let properties = node.get("properties").is_some_and(|node| !node.entries().is_empty());
        if properties
            && (node.get("type").and_then(Yaml::as_str) == Some("object") || node.get("$schema").is_some())
        {
            schema::defaults(self, node);
            return;
        }
        let entries = node.entries();
        let around = (self.hub.clone(), self.base.clone(), self.version.clone(), self.registry.clone());
        let outer = (self.settings, self.under_image, self.versioned_elsewhere, self.table);
        self.settings = SETTINGS.contains(&key);
        self.table = group::is_table(node);
        self.under_image = self.under(key);
        if let Some(version) = node.get("version").and_then(group::version_text) {
            self.version = Some(version);
        }
        self.versioned_elsewhere = versioned_beside(node);
        if let (Some(hub), Some(tag)) = (node.get("hub"), node.get("tag"))
            && hub.as_str().is_some()
            && let (Some(hub), Some(tag)) = (Part::of(hub), group::version_text(tag))
        {
            self.hub = Some((hub, tag));
        }
        around::components(self, node);
        if self.is_about_images()
            && let Some(registry) = around::registry(node)
        {
            self.registry = Some(registry);
        }
        let taken = group::find(self, node, key);
        let pair = setting::pair(self, node);
        for (name, value) in entries {
            let name = name.key();
            if taken.contains(&&*name) || pair.is_some_and(|pair| pair == name) {
                continue;
            }
            if bare(&name, FIELDS_OF_VARIABLES)
                && let Some(image) = node.get("image")
            {
                variables::digests(self, image, &name, value);
            }
            if bare(&name, &["image"])
                && let Some(text) = value.as_str()
                && (container || entries.iter().any(|(key, _)| bare(&key.key(), FIELDS_OF_CONTAINERS)))
            {
                self.entry(&name, |walk| walk.container(node, value, text, container));
                continue;
            }
            self.field(&name, value);
        }
        (self.hub, self.base, self.version, self.registry) = around;
        (self.settings, self.under_image, self.versioned_elsewhere, self.table) = outer;
    }

    /// What a mapping under `key` is under.
    fn under(&self, key: &str) -> Under {
        if key.contains("mage") {
            let words = words(key);
            if key_hint(&words) == Hint::Image || words.last().is_some_and(|word| word == "images") {
                return Under::Images;
            }
            if variable_hint(&words) == Hint::Image {
                return Under::AboutImages;
            }
        }
        if self.under_image == Under::Nothing { Under::Nothing } else { Under::AboutImages }
    }

    /// The image of a container.
    fn container(&mut self, container: &Yaml, node: &Yaml, text: &str, listed: bool) {
        if self.hub.is_some() && around::in_hub(self, node, text) {
            return;
        }
        if around::in_plan(self, node, text) {
            return;
        }
        // Istio fills `auto` in when it injects its proxy.
        if text == "auto" && container.get("name").and_then(Yaml::as_str) == Some("istio-proxy") {
            return;
        }
        let reason = if listed {
            "the image of a container in a pod spec"
        } else {
            "the image of a container, by the fields beside it"
        };
        let Some(candidate) = Candidate::of_container(text) else {
            if listed {
                gaps::unreadable(self, node, text);
            }
            return;
        };
        let name = container.get("name").and_then(Yaml::as_str).map(str::to_owned);
        let before = self.found.len();
        self.record(Find::whole(candidate, node, Confidence::Certain, reason));
        for found in &mut self.found[before..] {
            found.container.clone_from(&name);
        }
    }
}

/// Whether a key is one of `names`, without the anchors that Kyverno puts around keys (`+(image)`).
fn bare(key: &str, names: &[&str]) -> bool {
    names.contains(&key)
        || (key.ends_with(')')
            && key.split_once('(').is_some_and(|(_, key)| names.contains(&key.trim_end_matches(')'))))
}

/// Whether a key of a Kyverno policy asks rather than sets: all its anchors but `+(…)`.
fn is_condition(key: &str) -> bool {
    key.ends_with(')') && !key.starts_with('+') && key.contains('(')
}
