//! Strings of fields: how sure it is that one is an image, by its form and by the name of its field.

use super::candidate::{Candidate, Position, with_transport, without_transport};
use super::kinds::{ADDRESSES, VALUES};
use super::walk::{Find, Under, Walk};
use super::words::{Hint, field_hint, variable_hint, words};
use super::{Confidence, around, embedded, settings as setting, sources};
use crate::Yaml;

impl Walk {
    /// A string under `key`, or in a list or mapping under it.
    pub(super) fn string(&mut self, node: &Yaml, text: &str, key: &str) {
        let words = words(key);
        let hint = field_hint(key, &words);
        if hint == Hint::Prose || text.is_empty() {
            return;
        }
        if sources::artifact(self, node, text) || embedded::text(self, node, text, key) {
            return;
        }
        let listed = words.last().is_some_and(|word| word == "images");
        if hint == Hint::Image && self.hub.is_some() && around::in_hub(self, node, text) {
            return;
        }
        if hint == Hint::Image && around::in_plan(self, node, text) {
            return;
        }
        if hint == Hint::Image
            && words.iter().any(|word| word.starts_with("base"))
            && let Some(version) = self.version.clone()
            && around::base_image(self, node, text, &version)
        {
            return;
        }
        if self.settings && self.secret && variable_hint(&words) != Hint::Image {
            return;
        }
        if self.settings {
            setting::value(self, node, text, &format!("the setting `{key}`"), &words);
            return;
        }
        let position = match hint {
            Hint::Image => Position::Field,
            _ if listed || self.under_image == Under::Images => Position::Named,
            _ if self.table => Position::Setting,
            _ => Position::Neutral,
        };
        let Some(candidate) = Candidate::read(text) else {
            if hint == Hint::Image || listed {
                setting::value(self, node, text, &format!("the field `{key}`"), &words);
            }
            return;
        };
        let position = if position == Position::Neutral
            && self.under_image == Under::AboutImages
            && candidate.is_path()
            && candidate.has_version()
        {
            Position::Named
        } else {
            position
        };
        if candidate.is_bare_word() && (self.machines || (hint != Hint::Image && !listed)) {
            return;
        }
        // Where a registry is asked for, an image without a version is its address.
        if hint != Hint::Image
            && !candidate.has_version()
            && words.last().is_some_and(|word| ADDRESSES.contains(&word.as_str()))
            && transport(text) == 0
        {
            return;
        }
        let transported = (matches!(position, Position::Neutral | Position::Setting)
            && with_transport(text).is_some())
        .then_some(Confidence::Likely);
        let Some(mut confidence) = transported.or_else(|| candidate.judge(position)) else { return };
        // With a version, it is as sure as where a pull policy or a command stands beside it.
        let plainly = key == "image" && candidate.has_version() && !self.machines;
        if plainly {
            confidence = Confidence::Certain;
        }
        let (confidence, incomplete) = self.complete(&candidate, confidence);
        let reason = match (position, candidate.is_full()) {
            _ if incomplete => format!("a reference in the field `{key}` that another field may complete"),
            (Position::Field, true) => format!("a full reference in the field `{key}`"),
            (Position::Field, false) if candidate.is_bare_word() => {
                format!("a single word in the field `{key}`, which may mean something else")
            }
            (Position::Field, false) if plainly => format!("a reference with a version in the field `{key}`"),
            (Position::Field, false) if !candidate.names_registry() => {
                format!("a reference without a registry in the field `{key}`")
            }
            (Position::Field, false) => format!("a reference without a version in the field `{key}`"),
            (Position::Named, _) if listed => format!("in the list `{key}`"),
            (Position::Named, _) => format!("a reference in `{key}`, under a field that is named for images"),
            _ if transported.is_some() => {
                format!("a reference with its transport in the field `{key}`")
            }
            (_, true) if confidence == Confidence::Possible => {
                format!(
                    "a full reference of a registry that is not known, in the field `{key}`, which is not named for an image"
                )
            }
            (_, true) => format!("a full reference, though the field `{key}` is not named for an image"),
            _ => format!("a path with a version in the field `{key}`, like all that stand beside it"),
        };
        self.record(Find { part: transport(text)..text.len(), candidate, node, confidence, reason });
    }

    /// Less sure of a reference without a tag where its version may stand elsewhere: whether that is so.
    fn complete(&self, candidate: &Candidate, confidence: Confidence) -> (Confidence, bool) {
        let plain = self.versionless && candidate.in_folder_of_known_registry();
        let loose =
            (self.level > 0 && !plain) || VALUES.iter().any(|key| self.path.contains(&format!(".{key}.")));
        let incomplete = !candidate.has_version()
            && !candidate.is_bare_word()
            && (self.versioned_elsewhere || loose || self.path.to_ascii_lowercase().ends_with("baseimage"))
            && confidence > Confidence::Possible;
        (if incomplete { Confidence::Possible } else { confidence }, incomplete)
    }
}

/// How many bytes of transport (`docker://`) stand before the reference.
pub(crate) fn transport(text: &str) -> usize {
    text.len() - without_transport(text).len()
}
