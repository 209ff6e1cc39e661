//! `kic diff` reads no more than it has to.

use std::fs;

use serde_json::Value;

use crate::support::image_layout::root_digest;
use crate::support::kic::{kic, stdout};
use crate::support::random::Random;
use crate::support::rich_spec;
use crate::support::root;
use crate::support::upstream::{Upstream, is_blob};

fn spec(text: &str, image: &str) -> String {
    format!(
        "cluster \"shop\" version=\"v1\" {{
            base scratch
            files \"big\" {{ copy \"big\" to=\"/big\"; }}
            files \"own\" {{ text \"/own\" \"{text}\"; }}
            registry \"r.local\" {{ image \"oci:images/images/{image}.oci\" as=\"docker.io/library/web:1\"; }}
        }}"
    )
}

#[test]
fn layers_that_both_images_have_and_those_of_caches_are_not_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    rich_spec::make_images_only(&path("images"));
    fs::write(path("big"), Random::new(53).bytes(3 << 20)).unwrap();
    for (name, text, image) in [("left", "one", "tool"), ("right", "two", "agent")] {
        fs::write(path(&format!("{name}.kdl")), spec(text, image)).unwrap();
        let (spec, output) = (format!("{name}.kdl"), format!("{name}.oci"));
        stdout(kic(folder.path(), &path("store")).args(["compile", "-q", &spec, "-o", &output]));
    }
    let (left, right) = (path("left.oci"), path("right.oci"));
    let upstream = Upstream::serve(&[("left", "v1", &left), ("right", "v1", &right)], |request, reply| {
        // Whoever fetches a large blob would wait for it.
        if is_blob(request) { reply.wait(std::time::Duration::from_millis(1)) } else { reply }
    });
    let images = ["left", "right"].map(|name| format!("{}/{name}:v1", upstream.host()));
    let found =
        stdout(kic(folder.path(), &path("other-store")).args(["diff", "--format", "json"]).args(&images));
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["left"]["digest"], root_digest(&left));
    let text = found.to_string();
    for expected in ["docker.io/library/web:1", "own", "content"] {
        assert!(text.contains(expected), "{expected}: {found:#}");
    }
    // Two configurations, two plans, and the one layer that differs on each side.
    let blobs = upstream.asked().into_iter().filter(|asked| asked.contains("/blobs/")).count();
    assert_eq!(blobs, 6, "{:#?}", upstream.asked());
    let bytes: u64 = fs::read_dir(path("other-store/blobs/sha256"))
        .unwrap()
        .flat_map(|shard| fs::read_dir(shard.unwrap().path()).unwrap())
        .map(|blob| blob.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < 100_000, "{bytes} bytes were fetched");
    // On disk, the same is told.
    let on_disk = stdout(kic(folder.path(), &path("other-store")).args([
        "diff",
        "--format",
        "json",
        "left.oci",
        "right.oci",
    ]));
    let on_disk: Value = serde_json::from_str(&on_disk).unwrap();
    assert_eq!(on_disk["differences"], found["differences"]);
}

#[test]
fn the_json_in_the_book_is_what_is_printed() {
    let printed = fs::read_to_string(root().join("tests/cli/diff/as-json/stdout")).unwrap();
    let page = fs::read_to_string(root().join("book/src/reference/command-line.md")).unwrap();
    assert!(page.contains(&format!("```json\n{printed}```\n")), "write into the book:\n{printed}");
}
