use std::ops::Range;
use std::sync::{Arc, OnceLock};

use kic_base::{Digest, Spanned, StableHasher};
use kic_manifest::{Object, Yaml};
use serde_json::{Map, Value as Json, json};

use crate::fault::Fault;

/// The lists of a pod that hold containers.
pub(crate) const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// The namespace of what names none.
const DEFAULT_NAMESPACE: &str = "default";

/// A pod as it comes to the API server.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    object: Arc<PodObject>,
}

/// The object of a pod, which may be large: of one that is kept from a run before, it is read when somebody looks at it.
#[derive(Debug, Default)]
struct PodObject {
    kept: Option<(Arc<Vec<u8>>, Range<usize>)>,
    read: OnceLock<Json>,
    digest: OnceLock<Digest>,
}

impl PartialEq for Pod {
    fn eq(&self, other: &Self) -> bool {
        self.namespace == other.namespace && self.object() == other.object()
    }
}

/// What is done with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// Ephemeral containers are added to it, as `kubectl debug` does.
    Debug,
}

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update | Self::Debug => "UPDATE",
        }
    }

    pub(crate) fn subresource(self) -> &'static str {
        if self == Self::Debug { "ephemeralcontainers" } else { "" }
    }
}

/// A pod, and what is done with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub pod: &'a Pod,
    pub operation: Operation,
}

impl Request<'_> {
    /// The request as policies see it, but for its objects and for what [`unknown_of_request`] names. What is empty is not there.
    pub fn to_json(self) -> Json {
        let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
        let resource = json!({"group": "", "version": "v1", "resource": "pods"});
        let mut fields = Map::new();
        for (name, value) in [
            ("kind", kind.clone()),
            ("requestKind", kind),
            ("resource", resource.clone()),
            ("requestResource", resource),
            ("operation", json!(self.operation.name())),
            ("namespace", json!(self.pod.namespace)),
            ("name", json!(self.pod.name())),
            ("subResource", json!(self.operation.subresource())),
            ("requestSubResource", json!(self.operation.subresource())),
            ("dryRun", json!(false)),
        ] {
            if value != json!("") {
                fields.insert(name.to_owned(), value);
            }
        }
        Json::Object(fields)
    }
}

/// An error where an expression asks for what kic does not know of a request: by whom it is, above all.
pub(crate) fn unknown_of_request(expression: &str) -> Result<(), Fault> {
    for field in ["userInfo", "uid", "options", "roles", "clusterRoles"] {
        let name = format!("request.{field}");
        let after = |place: usize| expression[place + name.len()..].chars().next();
        let asks = |(place, _): (usize, &str)| {
            !after(place).is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
        };
        if expression.match_indices(&name).any(asks) {
            return Err(Fault::unknown(format!("it depends on `{name}`, which kic does not know")));
        }
    }
    Ok(())
}

/// Where a pod names an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// `containers`, `initContainers`, `ephemeralContainers` or `volumes`.
    pub list: &'static str,
    /// The name of the container or volume.
    pub name: String,
}

impl Place {
    /// A place by the names of its list and of its container or volume; `None` where there is no such list.
    pub fn new(list: &str, name: &str) -> Option<Self> {
        let list = CONTAINER_LISTS.into_iter().chain(["volumes"]).find(|known| *known == list)?;
        Some(Self { list, name: name.to_owned() })
    }
}

impl Pod {
    /// A pod with that object, of which `metadata` and `spec` are maps.
    pub fn new(namespace: String, object: Json) -> Self {
        let object = PodObject { read: object.into(), ..PodObject::default() };
        Self { namespace, object: Arc::new(object) }
    }

    /// One that was kept: its [`Self::digest`], and where the JSON of its object stands. Bytes that are none make a pod without anything.
    pub fn kept(namespace: String, digest: Digest, bytes: &Arc<Vec<u8>>, place: Range<usize>) -> Self {
        let kept = Some((Arc::clone(bytes), place));
        let object = PodObject { kept, digest: digest.into(), ..PodObject::default() };
        Self { namespace, object: Arc::new(object) }
    }

    /// The whole object; `metadata` and `spec` are maps.
    pub fn object(&self) -> &Json {
        let PodObject { kept, read, .. } = &*self.object;
        read.get_or_init(|| {
            let bytes = kept.as_ref().and_then(|(bytes, place)| bytes.get(place.clone()));
            bytes.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
        })
    }

    /// What it is known by: all that policies see of it.
    pub fn digest(&self) -> &Digest {
        self.object.digest.get_or_init(|| {
            let mut hasher = StableHasher::new();
            hasher.text(&self.namespace).text(&self.object().to_string());
            hasher.finish()
        })
    }

    /// The pod that an object is, or that a controller makes of it, as far as the manifest says it. `namespace` is that of
    /// objects that name none.
    pub fn of(object: &Object, namespace: Option<&str>) -> Option<Self> {
        let path: &[&str] = match (object.api_version.as_str(), object.kind.as_str()) {
            ("v1", "Pod") => &[],
            ("v1", "PodTemplate") => &["template"],
            ("v1", "ReplicationController")
            | ("apps/v1", "Deployment" | "DaemonSet" | "StatefulSet" | "ReplicaSet")
            | ("batch/v1", "Job") => &["spec", "template"],
            ("batch/v1" | "batch/v1beta1", "CronJob") => &["spec", "jobTemplate", "spec", "template"],
            _ => return None,
        };
        let template = object.root.at(path)?;
        let namespace = object.namespace.as_deref().or(namespace).unwrap_or(DEFAULT_NAMESPACE);
        let mut metadata = match template.get("metadata").map(Yaml::to_json) {
            Some(Json::Object(metadata)) => metadata,
            _ => Map::new(),
        };
        metadata.insert("namespace".to_owned(), json!(namespace));
        if !path.is_empty() {
            metadata.remove("name");
            // A controller gives its pods names that begin with its own.
            let name = object.name.as_deref().unwrap_or_default();
            metadata.insert("generateName".to_owned(), json!(format!("{name}-")));
        }
        let spec = template.get("spec").map(Yaml::to_json).filter(Json::is_object)?;
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        Some(Self::new(namespace.to_owned(), object))
    }

    /// A pod with this one image, in a container of that list.
    pub fn with(image: &str, list: &'static str, namespace: Option<&str>) -> (Self, Place) {
        let namespace = namespace.unwrap_or(DEFAULT_NAMESPACE);
        let place = Place { list, name: "main".to_owned() };
        let mut spec = Map::new();
        if list != "containers" {
            spec.insert("containers".to_owned(), json!([]));
        }
        spec.insert(list.to_owned(), json!([{"name": place.name, "image": image}]));
        let object = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "main", "namespace": namespace},
            "spec": spec,
        });
        (Self::new(namespace.to_owned(), object), place)
    }

    /// What stands at a place.
    fn item(&self, place: &Place) -> Option<&Json> {
        let items = self.object().get("spec")?.get(place.list)?.as_array()?;
        items.iter().find(|item| item.get("name").and_then(Json::as_str) == Some(&place.name))
    }

    /// Whether the node never asks a registry for what a place names (`imagePullPolicy: Never`).
    pub fn is_never_pulled(&self, place: &Place) -> bool {
        let policy = self.item(place).and_then(|item| item.get("imagePullPolicy")?.as_str());
        policy == Some("Never")
    }

    /// What the pod names at a place.
    pub fn image(&self, place: &Place) -> Option<&str> {
        let item = self.item(place)?;
        let at =
            if place.list == "volumes" { item.get("image")?.get("reference") } else { item.get("image") };
        at?.as_str()
    }

    /// Every place at which it names an image, in the order of its lists.
    pub fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for list in CONTAINER_LISTS.into_iter().chain(["volumes"]) {
            let items = self.object().get("spec").and_then(|spec| spec.get(list)).and_then(Json::as_array);
            for item in items.into_iter().flatten() {
                let Some(name) = item.get("name").and_then(Json::as_str) else { continue };
                let place = Place { list, name: name.to_owned() };
                if self.image(&place).is_some() {
                    places.push(place);
                }
            }
        }
        places
    }

    pub(crate) fn label(&self, group: &str, key: &str) -> Option<&str> {
        self.object().get("metadata")?.get(group)?.get(key)?.as_str()
    }

    /// Its name, or what its name begins with.
    pub(crate) fn name(&self) -> &str {
        let metadata = self.object().get("metadata");
        let get = |key| metadata.and_then(|metadata| metadata.get(key)).and_then(Json::as_str);
        get("name").or_else(|| get("generateName")).unwrap_or_default()
    }
}

/// The place in the pod of a manifest's field, such as `spec.template.spec.initContainers[0].image`.
pub fn place_of(pod: &Pod, path: &str) -> Option<Place> {
    for list in CONTAINER_LISTS.into_iter().chain(["volumes"]) {
        let field = if list == "volumes" { "].image.reference" } else { "].image" };
        let Some(rest) = path.strip_suffix(field) else { continue };
        let Some((before, index)) = rest.rsplit_once(&format!("{list}[")) else { continue };
        if !(before == "spec." || before.ends_with(".spec.")) {
            continue;
        }
        let item = pod.object().get("spec")?.get(list)?.get(index.parse::<usize>().ok()?)?;
        return Some(Place { list, name: item.get("name")?.as_str()?.to_owned() });
    }
    None
}

/// A text and its place, or nothing, from a field of a mapping.
pub(crate) fn text_at(yaml: &Yaml, key: &str) -> Option<Spanned<String>> {
    let value = yaml.get(key)?;
    value.as_str().map(|text| Spanned::new(text.to_owned(), value.span.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_of_a_request_is_never_guessed() {
        for (expression, is_known) in [
            ("request.operation == 'CREATE'", true),
            ("request.object.spec.containers", true),
            ("has(request.userInfo.username)", false),
            ("request.userInfo", false),
            ("request.roles[0] || ''", false),
            ("request.uidentity", true),
        ] {
            assert_eq!(unknown_of_request(expression).is_ok(), is_known, "{expression}");
        }
    }
}
