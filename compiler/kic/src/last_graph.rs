//! The graph of the last run of a request, for a run that has changed manifests alone, and these say what they said.
//!
//! **Invariant:** it is what evaluation, gathering and lowering would give. All that they read is in [`LastRun`](crate::last_run), and held
//! against the world; of the manifests of local files they know no more than what [`Said`] stands for, and the digests of their bytes,
//! which decide what trees hold and nothing else. So where every other place holds what it held, and each manifest that changed says what
//! it said, the graph is the same but for those digests. Where that is not sure, everything is found out anew: that also finds out what is
//! wrong, and tells it.
//!
//! The bytes of it (see [`kic_base::packed`]): whether policies or mirrors look at pods; the places whose manifests may change, each with
//! what they say, the node of their layer and what they held; the graph.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kic_base::packed::{Reader, put_length, put_list, put_text};
use kic_base::{Digest, StableHasher};
use kic_diag::Diagnostics;
use kic_exec::{Context, Early, Fingerprint, Place, Plan, SaidPlace, State, facts_digest};
use kic_graph::{
    Bytes, ContentFacts, Contents, Derivation, EntryFacts, FileFacts, Graph, Inputs, Kind, Node, NodeIndex,
    PathFacts, PathKey, TreeEntry, TreeEntryKind,
};
use kic_spec::is_manifest_name;
use kic_store::Memo;

use crate::kept_warnings::KeptWarnings;
use crate::last_run::Known;

/// What is more is read beside other work, as everything is that is found out anew: in bytes, of all manifests that changed.
const MOST_BYTES: u64 = 64 << 10;

/// What is larger takes longer to write and to read than it saves: in bytes, about.
const MOST_SIZE: usize = 4 << 20;

/// What is known from the last run, where its texts and all else are as they were, but for what places hold.
#[derive(Debug)]
pub(crate) struct SameButPlaces {
    /// The checksum of what [`Kept::leave`] left.
    pub graph: Digest,
    /// What places held.
    pub places: Vec<(Place, Digest)>,
    /// The other files that were used.
    pub used: Vec<(PathBuf, Fingerprint)>,
    /// The programs that were found.
    pub programs: Vec<(Vec<String>, PathBuf)>,
    /// What was told.
    pub warnings: KeptWarnings,
}

/// What a run knows of which the next one may make its graph.
#[derive(Debug)]
pub(crate) struct Kept {
    is_judged: bool,
    /// Those whose manifests are found again in the graph, and nowhere else.
    places: Vec<KeptPlace>,
}

#[derive(Debug)]
struct KeptPlace {
    said: SaidPlace,
    /// The tree that the manifests are in.
    node: NodeIndex,
    facts: PathFacts,
}

/// What was left for the next run.
#[derive(Debug)]
pub(crate) struct Left {
    /// What places held then.
    pub places: Vec<(Place, Digest)>,
    /// By what it is told from others.
    pub checksum: Digest,
}

/// A graph that is known, and how the next run may know it.
pub(crate) struct Found {
    pub graph: Graph,
    pub plan: Plan,
    pub warnings: Diagnostics,
    pub kept: Kept,
}

impl Kept {
    /// Of a graph that was just lowered from these inputs.
    pub fn of(said: Vec<SaidPlace>, inputs: &Inputs, graph: &Graph) -> Self {
        let nodes = nodes_of_layers(graph);
        let (mut places, mut others) = (Vec::with_capacity(said.len()), BTreeSet::new());
        // Layers have a name of their own in each kind: their places follow each other.
        for layer in said.chunk_by(|one, other| one.layer() == other.layer()) {
            let (kind, name) = layer[0].layer();
            let manifests: usize = layer.iter().map(|place| place.said.len()).sum();
            // One of two that are the same is in no tree, and one in which images are named anew is not there as it is.
            let node = nodes.get(&(kind.name(), name.as_str())).copied();
            let node = node.filter(|node| local_files(graph, *node) == Some(manifests));
            for said in layer {
                let facts = inputs.paths.get(&PathKey::manifests(said.path.clone())).cloned();
                let facts = facts.filter(|facts| files(facts).is_some());
                match node.zip(facts) {
                    Some((node, facts)) => places.push(KeptPlace { said: said.clone(), node, facts }),
                    None => {
                        others.insert(said.path.as_path());
                    }
                }
            }
        }
        // Another layer may make something else of the same.
        places.retain(|kept| !others.contains(kept.said.path.as_path()));
        Self { is_judged: kic_graph::may_be_judged(inputs), places }
    }

    /// Leaves it for the next run, for which it counts once the last run tells of it. Where that does not work, the next run finds
    /// everything out anew.
    pub fn leave(self, key: &Digest, graph: &Graph, context: &Context) -> Option<Left> {
        if self.places.is_empty() || size(graph) > MOST_SIZE {
            return None;
        }
        let places = context.sources.looked();
        let memo = Memo::new(memo_key(key), self.write(&places, graph));
        context.store.remember(&memo).ok()?;
        Some(Left { places, checksum: memo.checksum() })
    }

    fn write(&self, looked: &[(Place, Digest)], graph: &Graph) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256 << 10);
        bytes.push(u8::from(self.is_judged));
        // What was looked at twice may have been another thing each time.
        let looked: BTreeMap<&Place, &Digest> =
            looked.iter().map(|(place, digest)| (place, digest)).collect();
        let is_sure = |kept: &&KeptPlace| looked.get(&kept.place()) == Some(&&facts_digest(&kept.facts));
        let sure: Vec<&KeptPlace> = self.places.iter().filter(is_sure).collect();
        put_list(&mut bytes, sure.iter(), |bytes, kept| {
            kept.said.put(bytes);
            put_length(bytes, kept.node.index());
            put_facts(bytes, &kept.facts);
        });
        graph.pack(&mut bytes);
        bytes
    }
}

impl KeptPlace {
    fn place(&self) -> Place {
        Place { path: self.said.path.clone(), globs: Vec::new(), deep: false }
    }

    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let said = SaidPlace::take(reader)?;
        let node = NodeIndex::new(reader.length()?);
        Some(Self { said, node, facts: take_facts(reader)? })
    }
}

/// The graph of this run, where it follows from that of the last one; and what is to be done for it.
pub(crate) fn find(key: &Digest, known: &Known, context: &Context) -> Option<Found> {
    let last = known.same_but_places.as_ref()?;
    let memo = context.store.recall_memo(&memo_key(key)).filter(|memo| memo.checksum() == last.graph)?;
    let mut reader = Reader(memo.bytes());
    let is_judged = reader.boolean()?;
    let mut kept = Kept { is_judged, places: reader.list(KeptPlace::take)? };
    let changed = kept.changed(last, context)?;
    let mut files: BTreeMap<NodeIndex, BTreeMap<&Path, ContentFacts>> = BTreeMap::new();
    for (place, Changed { path, content, .. }) in &changed {
        files.entry(kept.places.get(*place)?.node).or_default().insert(path, *content);
    }
    // It takes longest, and is the same whatever else comes out.
    let mut pack = context.early.as_deref().map(Early::packer);
    let mut trees = BTreeSet::new();
    let contents = |index, node: &Node| match files.get(&index) {
        Some(files) => places_in_tree(node, files),
        None => Some(Contents::new()),
    };
    let changed_tree = |node: &Node| {
        trees.insert(node.digest);
        if let Some(pack) = &mut pack {
            pack(node);
        }
    };
    let graph = Graph::unpack(&mut reader, contents, changed_tree)?;
    if !reader.0.is_empty() || trees.len() != files.len() {
        return None;
    }
    kept.take_over(changed, last, context)?;
    // It stays as it is recorded.
    if known.lock.as_ref().is_some_and(|lock| !lock.stands(&context.store)) {
        return None;
    }
    let warnings = last.warnings.diagnostics()?;
    context.store.hold().ok()?;
    let plan = kic_exec::plan(&graph, &known.outputs, &context.store);
    context.store.let_go().ok()?;
    let plan = plan.ok()?;
    // What has to be had from elsewhere is asked for in the name of a place of the spec.
    let is_expected = |(index, state): (&NodeIndex, &State)| {
        let node = &graph.nodes[*index];
        let is_made = trees.contains(&node.digest) || node.kind == Kind::Launch;
        !state.is_pending() || is_made
    };
    if !plan.states.iter().all(is_expected) {
        return None;
    }
    let places: Vec<Place> = last.places.iter().map(|(place, _)| place.clone()).collect();
    context.sources.look(&places, context);
    context.sources.note_used(&last.used, &last.programs);
    if let Some(early) = &context.early {
        early.no_more();
    }
    Some(Found { graph, plan, warnings, kept })
}

/// A manifest that holds something else.
struct Changed {
    /// Its number among those of its place.
    number: usize,
    path: PathBuf,
    content: ContentFacts,
}

impl Kept {
    /// Holds what places held against what they hold, and takes that over. Gives the manifests that hold something else, each with the
    /// number of its place; nothing where there is another difference.
    fn changed(&mut self, last: &SameButPlaces, context: &Context) -> Option<Vec<(usize, Changed)>> {
        let (mut changed, mut is_kept) = (Vec::new(), BTreeSet::new());
        for (number, kept) in self.places.iter_mut().enumerate() {
            let place = kept.place();
            let now = context.sources.held(&place)?;
            let of_place = changed_files(&kept.said.path, &kept.facts, &now)?;
            changed.extend(of_place.into_iter().map(|changed| (number, changed)));
            kept.facts = now;
            is_kept.insert(place);
        }
        let mut others = last.places.iter().filter(|(place, _)| !is_kept.contains(place));
        let is_same = others.all(|(place, digest)| context.sources.held_digest(place) == Some(*digest));
        let bytes = changed.iter().map(|(_, changed)| changed.content.size).fold(0, u64::saturating_add);
        (is_same && bytes <= MOST_BYTES).then_some(changed)
    }

    /// Takes over what manifests say that changed; nothing where one says something else than it said.
    fn take_over(
        &mut self,
        changed: Vec<(usize, Changed)>,
        last: &SameButPlaces,
        context: &Context,
    ) -> Option<()> {
        for (place, Changed { number, path, content }) in changed {
            let said = &mut self.places.get_mut(place)?.said;
            let before = (*said.said.get(number)?)?;
            let now = said.say(&path, &content, context)?;
            let is_same = before.names == now.names && (before.pods == now.pods || !self.is_judged);
            // What points into it may point to another place of it by now.
            if !is_same || last.warnings.point_into(&path.display().to_string()) {
                return None;
            }
            *said.said.get_mut(number)? = Some(now);
        }
        Some(())
    }
}

/// The manifests of a place that hold something else; nothing where more than that is different.
fn changed_files(path: &Path, before: &PathFacts, now: &PathFacts) -> Option<Vec<Changed>> {
    let is_folder = matches!(before, PathFacts::Folder(_));
    let (files_before, files_now) = (files(before)?, files(now)?);
    if is_folder != matches!(now, PathFacts::Folder(_)) || files_before.len() != files_now.len() {
        return None;
    }
    let (mut changed, mut number) = (Vec::new(), 0);
    for ((name, before), (name_now, now)) in files_before.into_iter().zip(files_now) {
        if name != name_now || before.executable != now.executable {
            return None;
        }
        if !is_folder || is_manifest_name(name) {
            if before.content != now.content {
                let path = if is_folder { path.join(name) } else { path.to_owned() };
                changed.push(Changed { number, path, content: now.content });
            }
            number += 1;
        }
    }
    Some(changed)
}

/// Which entries of a tree those files are.
fn places_in_tree(node: &Node, files: &BTreeMap<&Path, ContentFacts>) -> Option<Contents> {
    let Derivation::Tree { entries, .. } = &node.derivation else { return None };
    let (mut places, mut found) = (Vec::with_capacity(files.len()), BTreeSet::new());
    for (place, entry) in entries.iter().enumerate() {
        // One may stand there under several names.
        let known = entry.local().and_then(|path| files.get_key_value(path.as_ref()));
        if let Some((path, content)) = known {
            places.push((place, *content));
            found.insert(path);
        }
    }
    (found.len() == files.len()).then_some(places)
}

/// The nodes of layers that are one node each, and share it with no other layer, by kind and name.
fn nodes_of_layers(graph: &Graph) -> BTreeMap<(&str, &str), NodeIndex> {
    let mut nodes: BTreeMap<(&str, &str), BTreeSet<NodeIndex>> = BTreeMap::new();
    let mut layers: BTreeMap<NodeIndex, BTreeSet<(&str, &str)>> = BTreeMap::new();
    for image in graph.image.platforms.values() {
        let mut seen = BTreeSet::new();
        for layer in &image.layers {
            let name = (layer.kind.name(), layer.name.as_str());
            nodes.entry(name).or_default().insert(layer.node);
            let names = layers.entry(layer.node).or_default();
            names.insert(name);
            if !seen.insert(layer.node) {
                // The base has one of the same name, and the same in it.
                names.insert(("", ""));
            }
        }
    }
    let one = |(name, nodes): ((_, _), BTreeSet<NodeIndex>)| {
        let node = nodes.first().copied().filter(|_| nodes.len() == 1)?;
        layers.get(&node).filter(|names| names.len() == 1)?;
        Some((name, node))
    };
    nodes.into_iter().filter_map(one).collect()
}

/// About how many bytes the trees of a graph take, packed: nearly all of it.
fn size(graph: &Graph) -> usize {
    let of_entry = |entry: &TreeEntry| match &entry.kind {
        TreeEntryKind::File { bytes: Bytes::Inline(bytes), .. } => 100 + bytes.len(),
        _ => 100,
    };
    let of_node = |derivation: &Derivation| match derivation {
        Derivation::Tree { entries, .. } => entries.iter().map(of_entry).sum(),
        _ => 100,
    };
    graph.nodes.node_weights().map(|node| of_node(&node.derivation)).sum()
}

/// How many entries of a tree are files of this machine.
fn local_files(graph: &Graph, node: NodeIndex) -> Option<usize> {
    match &graph.nodes.node_weight(node)?.derivation {
        Derivation::Tree { entries, .. } => {
            let is_local = |entry: &&TreeEntry| {
                matches!(entry.kind, TreeEntryKind::File { bytes: Bytes::Local(_) | Bytes::Below(..), .. })
            };
            Some(entries.iter().filter(is_local).count())
        }
        _ => None,
    }
}

fn put_facts(bytes: &mut Vec<u8>, facts: &PathFacts) {
    bytes.push(u8::from(matches!(facts, PathFacts::Folder(_))));
    put_list(bytes, files(facts).unwrap_or_default().into_iter(), |bytes, (name, file)| {
        put_text(bytes, name);
        file.content.pack(bytes);
        bytes.push(u8::from(file.executable));
    });
}

fn take_facts(reader: &mut Reader<'_>) -> Option<PathFacts> {
    let is_folder = reader.boolean()?;
    let mut files = reader.list(|reader| {
        let (name, content) = (reader.text()?.to_owned(), ContentFacts::unpack(reader)?);
        Some((name, FileFacts { content, executable: reader.boolean()? }))
    })?;
    if is_folder {
        let entries = files.into_iter().map(|(name, file)| (name, EntryFacts::File(file)));
        return Some(PathFacts::Folder(Arc::new(entries.collect())));
    }
    files.pop().map(|(_, file)| PathFacts::File(file))
}

/// The files of a place by name, that of a file without one; nothing where it holds anything else.
fn files<'a>(facts: &'a PathFacts) -> Option<Vec<(&'a str, &'a FileFacts)>> {
    match facts {
        PathFacts::File(file) => Some(vec![("", file)]),
        PathFacts::Folder(below) => {
            let file = |below: &'a (String, EntryFacts)| match &below.1 {
                EntryFacts::File(file) => Some((below.0.as_str(), file)),
                _ => None,
            };
            below.iter().map(file).collect()
        }
    }
}

fn memo_key(key: &Digest) -> Digest {
    let mut hasher = StableHasher::new();
    hasher.text("kic last graph").digest(key);
    hasher.finish()
}
