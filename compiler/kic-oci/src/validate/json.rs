use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::finding::{Findings, Place, Problem};

/// JSON with all members of an object, those of the same name too, in their order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// A whole number from 0.
    Whole(u64),
    /// Any other number.
    Number,
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// An object and where it stands.
#[derive(Clone)]
pub(super) struct Object<'a> {
    pub(super) place: Place,
    members: &'a [(String, Json)],
}

impl Json {
    /// Parses a document, and finds members that come twice.
    pub(super) fn parse(place: &Place, bytes: &[u8], findings: &mut Findings) -> Option<Self> {
        match serde_json::from_slice::<Self>(bytes) {
            Ok(json) => {
                json.find_duplicates(place, findings);
                Some(json)
            }
            Err(error) => {
                findings.add(place.clone(), Problem::NotJson(error.to_string()));
                None
            }
        }
    }

    /// The JSON as an object.
    pub(super) fn object<'a>(&'a self, place: &Place, findings: &mut Findings) -> Option<Object<'a>> {
        match self {
            Self::Object(members) => Some(Object { place: place.clone(), members }),
            _ => self.mistyped(place, "an object", findings),
        }
    }

    pub(super) fn text(&self, place: &Place, findings: &mut Findings) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => self.mistyped(place, "a string", findings),
        }
    }

    fn mistyped<T>(&self, place: &Place, expected: &'static str, findings: &mut Findings) -> Option<T> {
        let found = match self {
            Self::Null => "null",
            Self::Bool(_) => "a truth value",
            Self::Whole(_) | Self::Number => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        };
        findings.add(place.clone(), Problem::Type { found, expected });
        None
    }

    fn find_duplicates(&self, place: &Place, findings: &mut Findings) {
        match self {
            Self::Object(members) => {
                let mut seen = BTreeSet::new();
                for (name, value) in members {
                    if !seen.insert(name) {
                        let name = crate::unpack::printable(name.as_bytes());
                        findings.add(place.clone(), Problem::DuplicateMember(name));
                    }
                    value.find_duplicates(&place.member(name), findings);
                }
            }
            Self::Array(items) => {
                for (position, item) in items.iter().enumerate() {
                    item.find_duplicates(&place.item(position), findings);
                }
            }
            _ => {}
        }
    }
}

impl<'a> Object<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a Json> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&'a str, &'a Json)> + use<'a> {
        self.members.iter().map(|(name, value)| (name.as_str(), value))
    }

    fn member(&self, name: &str, required: bool, findings: &mut Findings) -> Option<&'a Json> {
        let value = self.get(name);
        if required && value.is_none() {
            findings.add(self.place.member(name), Problem::MissingMember);
        }
        value
    }

    pub(super) fn string(&self, name: &str, required: bool, findings: &mut Findings) -> Option<&'a str> {
        self.member(name, required, findings)?.text(&self.place.member(name), findings)
    }

    pub(super) fn whole(&self, name: &str, required: bool, findings: &mut Findings) -> Option<u64> {
        match self.member(name, required, findings)? {
            Json::Whole(number) => Some(*number),
            other => other.mistyped(&self.place.member(name), "a whole number, not negative", findings),
        }
    }

    pub(super) fn truth(&self, name: &str, findings: &mut Findings) -> Option<bool> {
        match self.get(name)? {
            Json::Bool(truth) => Some(*truth),
            other => other.mistyped(&self.place.member(name), "`true` or `false`", findings),
        }
    }

    pub(super) fn object(&self, name: &str, required: bool, findings: &mut Findings) -> Option<Self> {
        self.member(name, required, findings)?.object(&self.place.member(name), findings)
    }

    /// The items of an array, each with its place.
    pub(super) fn array(
        &self,
        name: &str,
        required: bool,
        findings: &mut Findings,
    ) -> Option<Vec<(Place, &'a Json)>> {
        let place = self.place.member(name);
        match self.member(name, required, findings)? {
            Json::Array(items) => {
                Some(items.iter().enumerate().map(|(at, item)| (place.item(at), item)).collect())
            }
            other => other.mistyped(&place, "an array", findings),
        }
    }

    /// The strings of an array of strings.
    pub(super) fn strings(&self, name: &str, findings: &mut Findings) -> Vec<(Place, &'a str)> {
        let items = self.array(name, false, findings).unwrap_or_default();
        items
            .into_iter()
            .filter_map(|(place, item)| item.text(&place, findings).map(|text| (place, text)))
            .collect()
    }

    /// The members of an object of strings, such as annotations.
    pub(super) fn string_map(&self, name: &str, findings: &mut Findings) -> Vec<(&'a str, &'a str)> {
        let Some(map) = self.object(name, false, findings) else { return Vec::new() };
        map.members()
            .filter_map(|(key, value)| value.text(&map.place.member(key), findings).map(|text| (key, text)))
            .collect()
    }

    /// Whether a member says something: Go writes `null` where it means nothing.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| *value != Json::Null)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Whole(value))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}
