//! The graph of the run before, which a run takes over where manifests alone changed, and these say what they said.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kic_base::packed::Reader;
use kic_base::{Digest, Source};
use kic_graph::{
    ContentFacts, Contents, Derivation, EntryFacts, FileFacts, Graph, Inputs, Node, NodeIndex, PathFacts,
    PathKey, lower,
};
use kic_spec::{Base, Spec};

use crate::language;
use crate::support::contents::files;
use crate::support::image_layout::root_digest;
use crate::support::kic::{kic, shown, stdout};

fn resolved(texts: &BTreeMap<PathBuf, String>) -> Option<Spec> {
    let path = Path::new("cluster.kdl");
    let (file, _) = kic_syntax::parse(&Source::new("cluster.kdl", texts[path].clone()));
    Some(kic_spec::resolve(&file, path, texts).ok()?.0)
}

/// The graph as it is shown, without places in texts.
fn plain(mut graph: Graph) -> String {
    graph.nodes.node_weights_mut().for_each(|node| node.span = None);
    format!("{graph:?}")
}

fn packed(graph: &Graph) -> Vec<u8> {
    let mut bytes = Vec::new();
    graph.pack(&mut bytes);
    bytes
}

fn unpacked(bytes: &[u8]) -> Option<Graph> {
    let mut reader = Reader(bytes);
    let as_it_is = |_, _: &Node| Some(Contents::new());
    let unchanged = |_: &Node| panic!("a node that changed");
    Graph::unpack(&mut reader, as_it_is, unchanged).filter(|_| reader.0.is_empty())
}

#[test]
fn graphs_read_back_and_cut_bytes_are_none() {
    let mut graphs = 0;
    for (name, texts) in language::good_cases() {
        let Some(spec) = resolved(&texts) else { continue };
        if matches!(spec.base.value, Base::Image(_)) {
            continue;
        }
        let Ok((graph, _)) = lower(&spec, &language::inputs(&spec)) else { continue };
        let bytes = packed(&graph);
        assert_eq!(unpacked(&bytes).map(plain), Some(plain(graph)), "{name}");
        for length in 0..bytes.len() {
            assert!(unpacked(&bytes[..length]).is_none(), "{name}: {length}");
        }
        graphs += 1;
    }
    assert!(graphs > 50, "{graphs} graphs are too few");
}

const SPEC: &str = r#"cluster "c" {
    base scratch
    platform "linux/amd64" "linux/arm64"
    files "files" { copy "files" to="/etc"; text "/etc/motd" "hello"; }
    manifests "app" { file "app"; object "v1/ConfigMap" name="a"; }
    when "platform.arch" is="arm64" { manifests "arm" { file "arm.yaml"; }; }
    policies "policies" { file "arm.yaml" as="policy.yaml"; file "policies"; }
    readiness "ready" { exists "deployment/a"; }
}
"#;

fn folder(sizes: &[u64]) -> PathFacts {
    let entry = |(place, size): (usize, &u64)| {
        let content = ContentFacts { digest: Digest::of(&size.to_le_bytes()), size: *size };
        (format!("{place:03}.yaml"), EntryFacts::File(FileFacts { content, executable: false }))
    };
    PathFacts::Folder(Arc::new(sizes.iter().enumerate().map(entry).collect()))
}

fn file(size: u64) -> PathFacts {
    match folder(&[size]) {
        PathFacts::Folder(below) => match &below[0].1 {
            EntryFacts::File(facts) => PathFacts::File(*facts),
            _ => unreachable!("it is a file"),
        },
        other => other,
    }
}

fn lowered(app: &[u64], arm: u64, policies: &[u64]) -> Graph {
    let spec = resolved(&[(PathBuf::from("cluster.kdl"), SPEC.to_owned())].into()).unwrap();
    let inputs = Inputs {
        paths: BTreeMap::from([
            (PathKey::copied("files".into(), &[]), folder(&[1, 2])),
            (PathKey::manifests("app".into()), folder(app)),
            (PathKey::manifests("arm.yaml".into()), file(arm)),
            (PathKey::manifests("policies".into()), folder(policies)),
        ]),
        ..language::inputs(&spec)
    };
    lower(&spec, &inputs).unwrap().0
}

/// The first graph with what the files of the second hold.
fn with_contents_of(graph: Graph, other: &Graph) -> Option<Graph> {
    let mut contents = BTreeMap::new();
    for index in graph.nodes.node_indices() {
        let (Derivation::Tree { entries, .. }, Derivation::Tree { entries: others, .. }) =
            (&graph.nodes[index].derivation, &other.nodes[index].derivation)
        else {
            continue;
        };
        let content = |entry: &kic_graph::TreeEntry| match &entry.kind {
            kic_graph::TreeEntryKind::File { content, .. } => Some(*content),
            _ => None,
        };
        let pairs = entries.iter().zip(others.iter()).enumerate();
        let changed = pairs.filter(|(_, (entry, other))| content(entry) != content(other));
        let changed: Vec<_> =
            changed.filter_map(|(place, (_, other))| Some((place, content(other)?))).collect();
        if !changed.is_empty() {
            contents.insert(index, changed);
        }
    }
    with_contents(&graph, &contents)
}

/// The same graph with other contents in its trees, as a run has it that takes it over.
fn with_contents(graph: &Graph, contents: &BTreeMap<NodeIndex, Contents>) -> Option<Graph> {
    let bytes = packed(graph);
    let (mut reader, mut changed) = (Reader(&bytes), Vec::new());
    let known = Graph::unpack(
        &mut reader,
        |index, _| Some(contents.get(&index).cloned().unwrap_or_default()),
        |node| changed.push(node.digest),
    )?;
    let digests: Vec<Digest> = contents.keys().map(|index| known.nodes[*index].digest).collect();
    assert_eq!(changed, digests, "those that it was told of");
    Some(known)
}

#[test]
fn a_graph_with_other_contents_is_the_one_that_lowering_makes_of_them() {
    let first = || lowered(&[1, 2, 3], 4, &[5]);
    for (app, arm, policies) in [
        (&[1, 2, 3], 4, &[5]),
        (&[1, 9, 3], 4, &[5]),
        (&[7, 8, 9], 10, &[11]),
        (&[1, 2, 3], 40, &[5]),
        (&[1, 1, 1], 1, &[1]),
    ] {
        let expected = lowered(app, arm, policies);
        assert_eq!(with_contents_of(first(), &expected).map(plain), Some(plain(expected)), "{app:?} {arm}");
    }
}

#[test]
fn no_graph_comes_where_a_change_makes_two_trees_the_same_or_is_in_no_file_of_this_machine() {
    let entries = |graph: &Graph, name: &str| {
        let is_it = |index: &NodeIndex| graph.nodes[*index].name == name;
        graph.nodes.node_indices().find(is_it).unwrap()
    };
    let graph = || lowered(&[1], 4, &[5]);
    let content = ContentFacts { digest: Digest::of(b"other"), size: 1 };
    let (app, launch) = (entries(&graph(), "app"), entries(&graph(), "launch"));
    let change = |node, place| with_contents(&graph(), &[(node, vec![(place, content)])].into());
    assert!(change(app, 0).is_some());
    // The object that the spec says; what is behind the last entry; what is no tree.
    assert!(change(app, 1).is_none());
    assert!(change(app, 2).is_none());
    assert!(change(launch, 0).is_none());
    let twice = r#"cluster "c" {
    base scratch
    manifests "one" { file "one.yaml" as="a.yaml"; }
    files "two" { copy "two.yaml" to="/manifests/one/a.yaml"; }
}
"#;
    let spec = resolved(&[(PathBuf::from("cluster.kdl"), twice.to_owned())].into()).unwrap();
    let lower_with = |two: u64| {
        let paths = BTreeMap::from([
            (PathKey::manifests("one.yaml".into()), file(1)),
            (PathKey::copied("two.yaml".into(), &[]), file(two)),
        ]);
        lower(&spec, &Inputs { paths, ..language::inputs(&spec) }).unwrap().0
    };
    let (apart, same) = (lower_with(2), lower_with(1));
    assert_eq!(apart.nodes.node_count(), same.nodes.node_count() + 1);
    let two = entries(&apart, "two");
    let PathFacts::File(facts) = file(1) else { unreachable!("it is a file") };
    assert!(with_contents(&apart, &[(two, vec![(0, facts.content)])].into()).is_none());
}

/// What the run says that takes a graph over.
const KNOWN: &str = "the manifests that changed say what they said";

struct Ground {
    folder: tempfile::TempDir,
}

impl Ground {
    fn new(spec: &str, texts: &[(&str, &str)]) -> Self {
        let ground = Self { folder: tempfile::tempdir().unwrap() };
        ground.write("image.kdl", "cluster \"i\" { base scratch; label \"a\" \"b\"; }");
        let mut command = kic(ground.folder.path(), &ground.path("images"));
        stdout(command.args(["compile", "-q", "image.kdl", "-o", "image"]));
        ground.write("cluster.kdl", spec);
        texts.iter().for_each(|(name, text)| ground.write(name, text));
        ground.compile("at first", false);
        ground
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// Compiles, with and without what was known before: the same must come out, with the graph of the run before or another one.
    fn compile(&self, when: &str, expect_known: bool) {
        drop(fs::remove_dir_all(self.path("cold")));
        let compile = |store: &str, more: &[&str]| {
            let mut command = kic(self.folder.path(), &self.path(store));
            command.args(["compile", "--offline"]).args(more).output().unwrap()
        };
        let cold = compile("cold", &["--quiet", "--no-output"]);
        let warm = compile("store", &["--quiet", "-v", "-o", "out"]);
        assert_eq!((cold.status, &cold.stdout), (warm.status, &warm.stdout), "{when}: {}", shown(&warm));
        let told = String::from_utf8_lossy(&warm.stderr).into_owned();
        assert_eq!(told.contains(KNOWN), expect_known, "{when}: {told}");
        // All that is told without it is told with it.
        for line in String::from_utf8_lossy(&cold.stderr).lines() {
            assert!(told.contains(line), "{when}: {line}\n{told}");
        }
        if cold.status.success() {
            let digest = String::from_utf8(cold.stdout).unwrap();
            assert_eq!(root_digest(&self.path("out")), digest.trim(), "{when}");
            let mut verify = kic(self.folder.path(), &self.path("store"));
            stdout(verify.args(["store", "verify"]));
            let mut again = kic(self.folder.path(), &self.path("store"));
            let again = again.args(["compile", "--offline", "--quiet", "-v", "-o", "out"]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&again.stdout).trim(), digest.trim(), "{when}, again");
            assert!(!String::from_utf8_lossy(&again.stderr).contains(KNOWN), "{when}: nothing changed");
            self.leaves_the_same(when);
        }
    }

    /// What keeps the image in the store is what is left by a run that finds everything out anew.
    fn leaves_the_same(&self, when: &str) {
        let (memos, aside) = (self.path("store/memos"), self.path("memos"));
        let roots = files(&self.path("store/roots"));
        fs::rename(&memos, &aside).unwrap();
        fs::create_dir(&memos).unwrap();
        let mut anew = kic(self.folder.path(), &self.path("store"));
        stdout(anew.args(["compile", "--offline", "--quiet", "-o", "out"]));
        assert!(files(&self.path("store/roots")) == roots, "{when}");
        fs::remove_dir_all(&memos).unwrap();
        fs::rename(&aside, &memos).unwrap();
    }
}

fn deployment(name: &str, more: &str, image: &str, container: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {name} }}\nspec:\n{more}  template:\n    spec:\n      \
         containers:\n        - {{ name: c, image: \"{image}\"{container} }}\n"
    )
}

const IMAGES: &str = "registry \"sea.hub:5000\" { image \"oci:image\" as=\"docker.io/library/a:v1\"; \
    image \"oci:image\" as=\"docker.io/library/b:v1\"; }";

#[test]
fn what_manifests_say_decides_whether_a_graph_is_taken_over() {
    let spec = format!(
        "cluster \"c\" {{\n base scratch\n manifests \"m\" {{ file \"m\"; file \"one.yaml\"; file \"anew.yaml\"; }}\n \
         manifests \"n\" namespace=\"shop\" {{ file \"one.yaml\" as=\"two.yaml\"; }}\n \
         manifests \"r\" rewrite=\"sea.hub:5000\" {{ file \"anew.yaml\"; }}\n \
         files \"f\" {{ copy \"both.yaml\"; }}\n manifests \"b\" {{ file \"both.yaml\"; }}\n {IMAGES}\n}}\n"
    );
    let a = |more: &str, container: &str| deployment("a", more, "a:v1", container);
    let ground = Ground::new(
        &spec,
        &[
            ("m/a.yaml", &a("", "")),
            ("m/b.yaml", &deployment("b", "", "b:v1", "")),
            ("m/README.md", "of m"),
            ("one.yaml", &deployment("one", "", "b:v1", "")),
            ("both.yaml", &deployment("both", "", "a:v1", "")),
            ("anew.yaml", &deployment("anew", "", "a:v1", "")),
        ],
    );
    ground.write("m/a.yaml", &a("  replicas: 2\n", ""));
    ground.compile("a number", true);
    ground.write("m/a.yaml", &format!("# moved\n\n{}", a("  replicas: 2\n", "")));
    ground.compile("all is further down", true);
    ground.write("m/a.yaml", &a("", ", command: [x]"));
    ground.compile("what no policy looks at", true);
    ground.write("m/a.yaml", &a("", ""));
    ground.write("m/b.yaml", &deployment("b", "  replicas: 3\n", "b:v1", ""));
    ground.write("one.yaml", &deployment("one", "  replicas: 3\n", "b:v1", ""));
    ground.compile("three at once, one of them in two layers", true);
    ground.write("m/README.md", "of m, too");
    ground.compile("what is no manifest", true);
    ground.write("m/a.yaml", &deployment("a", "", "b:v1", ""));
    ground.compile("another image", false);
    ground.write("m/a.yaml", &deployment("a2", "", "b:v1", ""));
    ground.compile("another name", false);
    ground.write("m/a.yaml", &deployment("a2", "", "c:v1", ""));
    ground.compile("an image that nobody has", false);
    ground.write("m/a.yaml", "a: [");
    ground.compile("no manifest any more", false);
    ground.write("m/a.yaml", &a("  replicas: 4\n", ""));
    ground.compile("from what was wrong", false);
    ground.write("m/c.yaml", &deployment("c", "", "a:v1", ""));
    ground.compile("one more", false);
    fs::remove_file(ground.path("m/c.yaml")).unwrap();
    ground.compile("one less", false);
    fs::set_permissions(ground.path("m/a.yaml"), fs::Permissions::from_mode(0o755)).unwrap();
    ground.compile("another mode", false);
    ground.write("m/a.yaml", &format!("{}{}", a("", ""), "# long\n".repeat(10_000)));
    ground.compile("a large one", false);
    ground.write("m/a.yaml", &a("", ""));
    ground.compile("it is small again", true);
    ground.write("both.yaml", &deployment("both", "  replicas: 5\n", "a:v1", ""));
    ground.compile("a file that is copied, too", false);
    ground.write("anew.yaml", &deployment("anew", "  replicas: 5\n", "a:v1", ""));
    ground.compile("a file in which another layer names images anew", false);
    ground.write("cluster.kdl", &format!("{spec}// more\n"));
    ground.write("m/a.yaml", &a("  replicas: 6\n", ""));
    ground.compile("the spec, too", false);
    ground.write("m/a.yaml", &a("  replicas: 7\n", ""));
    ground.compile("after the spec", true);
}

#[test]
fn policies_look_at_all_of_a_pod() {
    let spec = format!(
        "cluster \"c\" {{\n base scratch\n use \"std:redirect\" to=\"sea.hub:5000\"\n manifests \"m\" {{ file \"m\"; }}\n {IMAGES}\n}}\n"
    );
    let ground = Ground::new(&spec, &[("m/a.yaml", &deployment("a", "", "a:v1", ""))]);
    ground.write("m/a.yaml", &deployment("a", "  replicas: 2\n", "a:v1", ""));
    ground.compile("beside the pod", true);
    ground.write("m/a.yaml", &deployment("a", "  replicas: 2\n", "a:v1", ", command: [x]"));
    ground.compile("in the pod", false);
    ground.write("m/a.yaml", &deployment("a", "", "a:v1", ", command: [x]"));
    ground.compile("beside the pod again", true);
}

#[test]
fn what_is_told_points_to_where_it_stands_now() {
    let spec = "cluster \"c\" {\n base scratch\n manifests \"m\" { file \"m\"; }\n}\n";
    // Which image its operator makes of a version is said nowhere.
    let versioned = |more: &str| {
        format!(
            "{more}apiVersion: example.com/v1\nkind: Tool\nmetadata: {{ name: t }}\nspec: {{ version: 2.50.1 }}\n"
        )
    };
    let ground = Ground::new(spec, &[("m/t.yaml", &versioned("")), ("m/other.yaml", "# nothing\n")]);
    let told = || {
        let mut command = kic(ground.folder.path(), &ground.path("store"));
        let output = command.args(["compile", "--offline", "-q", "-o", "out"]).output().unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(told().contains("[m/t.yaml:4:"), "{}", told());
    ground.write("m/other.yaml", "# still nothing\n");
    ground.compile("another file", true);
    ground.write("m/t.yaml", &versioned("# moved\n"));
    ground.compile("the file that it points into", false);
    assert!(told().contains("[m/t.yaml:5:"), "{}", told());
}

#[test]
fn layers_that_are_the_same_are_told_apart_once_one_changes() {
    let spec = "cluster \"c\" {\n base scratch\n platform \"linux/amd64\" \"linux/arm64\"\n \
        when \"platform.arch\" is=\"arm64\" { manifests \"one\" { file \"one.yaml\" as=\"a.yaml\"; }; }\n \
        files \"two\" { copy \"two.yaml\" to=\"/manifests/one/a.yaml\"; }\n}\n";
    let map = |value: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: m }}\ndata: {{ a: {value} }}\n")
    };
    let ground = Ground::new(spec, &[("one.yaml", &map("x")), ("two.yaml", &map("x"))]);
    ground.write("one.yaml", &map("y"));
    ground.compile("two were one tree", false);
    ground.write("one.yaml", &map("z"));
    ground.compile("they were two", true);
    ground.write("one.yaml", &map("x"));
    ground.compile("they would be one again", false);
}
