//! Images named anew: whatever the text looks like, only references change, and naming them back gives every byte back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kic_base::{ImageReference, Source};
use kic_manifest::{Confidence, Found, images, read, rewrite};

const HOST: &str = "sea.hub:5000";

fn private(found: &Found) -> Option<String> {
    let reference = &found.reference;
    if reference.registry() == HOST || found.confidence == Confidence::Possible {
        return None;
    }
    let host = reference.registry().replace([':', '[', ']'], "");
    let repository = format!("{host}/{}", reference.repository());
    let digest = reference.digest().copied();
    Some(ImageReference::new(HOST, &repository, reference.tag(), digest).to_string())
}

/// Rewrites a text and checks what must hold of every one; what was left.
fn check(name: &str, text: &str) -> Vec<Found> {
    let source = Source::new(name, text);
    let (objects, errors) = read(&source);
    assert_eq!(errors, [], "{name}");
    let before = images(&objects);
    let rewritten = rewrite(&source, &private);
    let changed = Source::new(name, rewritten.text.clone());
    let (objects, errors) = read(&changed);
    assert_eq!(errors, [], "{name}: {}", rewritten.text);
    let after = images(&objects);
    assert_eq!(before.len(), after.len(), "{name}");
    let at = |found: &Found| (found.object.clone(), found.path.clone());
    let is_left =
        |old: &Found| rewritten.left.iter().any(|left| left.span == old.span && left.path == old.path);
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(at(old), at(new), "{name}");
        match private(old).filter(|_| !is_left(old)) {
            Some(expected) => {
                assert_eq!(new.reference.to_string(), expected, "{name} {}", old.path);
                assert_eq!(new.reference.digest(), old.reference.digest());
            }
            None => assert_eq!(new.reference, old.reference, "{name} {}", old.path),
        }
    }
    // A second time changes nothing.
    assert_eq!(rewrite(&changed, &private).text, rewritten.text, "{name}");
    // Back again: every byte is as it was.
    let old_of = |found: &Found| {
        let is_its = |old: &&Found| {
            at(old) == at(found) && private(old).is_some_and(|new| new == found.reference.to_string())
        };
        before.iter().find(is_its).map(|old| old.written.clone())
    };
    let back = rewrite(&changed, &old_of);
    assert_eq!(back.text, text, "{name}");
    rewritten.left
}

#[test]
fn odd_texts_come_back() {
    let cases: BTreeMap<&str, &str> = BTreeMap::from([
        (
            "anchors",
            "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - &one {name: a, image: &i quay.io/a/b:1}\n  - {name: b, image: *i}\n",
        ),
        (
            "merges",
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  spec:\n    containers:\n    - &base\n      image: quay.io/a/b:1\n      name: a\n    - <<: *base\n      name: b\n",
        ),
        (
            "crlf",
            "apiVersion: v1\r\nkind: Pod\r\nspec:\r\n  containers:\r\n  - image: quay.io/a/b:1 # c\r\n    name: a\r\n",
        ),
        (
            "quotes",
            "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - {name: 'a', image: 'quay.io/a/b:1'}\n  - {name: \"b\", image: \"quay.io/a/c:1\"}\n",
        ),
        (
            "flow",
            "{apiVersion: v1, kind: Pod, spec: {containers: [{image: quay.io/a/b:1,name: a},{\"image\":\"quay.io/c/d:2\",\"name\":\"b\"}]}}\n",
        ),
        (
            "json",
            "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"spec\": {\"containers\": [{\"name\": \"a\", \"image\": \"quay.io/a/b:1\"}]}}",
        ),
        (
            "documents",
            "# first\n---\napiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: quay.io/a/b:1}]}\n---\n# nothing\n---\napiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: quay.io/a/b:1}]}\n...\n",
        ),
        (
            "not ascii",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: größe, annotations: {a: \"日本\"}}\nspec: {containers: [{name: \"ß\", image: quay.io/a/b:1}]} # 日本\n",
        ),
        (
            "byte order mark",
            "\u{feff}apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: quay.io/a/b:1}]}\n",
        ),
        (
            "digest",
            "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    image: quay.io/a/b:1@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n",
        ),
        (
            "literal",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  pod.yaml: |-\n    apiVersion: v1\n    kind: Pod\n    spec:\n      containers:\n      - name: a\n        image: quay.io/a/b:1   # inside\n\n    # end\n  other: x\n",
        ),
        (
            "arguments",
            "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    image: quay.io/a/b:1\n    args:\n    - --reloader-image=quay.io/c/d:2\n    - \"--other-image=quay.io/c/e:3\"\n",
        ),
        (
            "group",
            "apiVersion: a/v1\nkind: A\nmetadata: {name: a}\nspec:\n  image:\n    repository: quay.io/a/b # repo\n    tag: \"1.2\" # tag\n",
        ),
        (
            "tabs and spaces",
            "apiVersion:   v1\nkind:  Pod\t\nspec:\n   containers:\n     -    image:     quay.io/a/b:1     \n          name: a\n",
        ),
        (
            "tag and anchor",
            "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: !!str &x quay.io/a/b:1}]}\n",
        ),
    ]);
    for (name, text) in cases {
        assert_eq!(check(name, text), [], "{name}");
    }
}

#[test]
fn a_reference_with_escapes_is_written_anew_in_its_quotes() {
    let text = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    image: \"quay.io/a/\\\n      b:1\" # c\n";
    let rewritten = rewrite(&Source::new("folded", text), &private);
    assert_eq!(rewritten.left, []);
    let expected = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    image: \"sea.hub:5000/quay.io/a/b:1\" # c\n";
    assert_eq!(rewritten.text, expected);
}

#[test]
fn real_manifests_come_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/kyverno");
    if !folder.is_dir() {
        eprintln!("SKIPPED: {} is not there", folder.display());
        return;
    }
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let left = check(&path.display().to_string(), &text);
        assert_eq!(left, [], "{}", path.display());
    }
}

/// What is not as it should be after a text is rewritten: every find that is certain or likely has its new name.
fn wrong(name: &str, text: &str) -> String {
    let at = |found: &Found| (found.object.clone(), found.path.clone());
    let source = Source::new(name, text);
    let before = images(&read(&source).0);
    let rewritten = rewrite(&source, &private);
    let after = images(&read(&Source::new(name, rewritten.text.clone())).0);
    let mut wrong = String::new();
    for old in &before {
        let Some(expected) = private(old) else { continue };
        let there: Vec<String> =
            after.iter().filter(|new| at(new) == at(old)).map(|new| new.reference.to_string()).collect();
        let is_left = rewritten.left.iter().any(|left| left.span == old.span && at(left) == at(old));
        // What stands in no scalar of the text is told, and stays.
        let may_stay = ["in base64", "what kubeadm runs"].iter().any(|part| old.reason.contains(part));
        let is_right = if is_left { may_stay } else { there.contains(&expected) };
        if !is_right {
            wrong.push_str(&format!("{name}: {} {}: {there:?}, not {expected}\n", old.path, old.reason));
        }
    }
    wrong
}

#[test]
fn a_folder_that_images_share_changes_where_it_changes_for_all() {
    let text = "apiVersion: a/v1\nkind: A\nmetadata: {name: a}\nspec:\n  hub: quay.io/a\n  tag: v1\n  proxyImage: proxy\n  initImage: init\n";
    let source = Source::new("shared", text);
    let all = rewrite(&source, &private);
    assert_eq!((all.text, all.left), (text.replace("quay.io/a", "sea.hub:5000/quay.io/a"), Vec::new()));
    let one = |found: &Found| private(found).filter(|_| found.written.contains("init"));
    let one = rewrite(&source, &one);
    assert_eq!((one.text.as_str(), one.left.len()), (text, 1));
}

#[test]
fn every_case_of_discovery_is_named_anew() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/discovery");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut left = String::new();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.starts_with("# no object") {
            left.push_str(&wrong(&name, &text));
        }
    }
    assert_eq!(left, "");
}
