use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use kic_base::Platform;
use tempfile::TempDir;

use super::*;
use crate::layout::{LayoutOptions, OCI_LAYOUT, REFERENCE_NAME, write_archive, write_layout};
use crate::model::{DescriptorPlatform, Document, ImageConfig, Index, Manifest, canonical_json, media_types};

struct Blobs(BTreeMap<Digest, Vec<u8>>);

impl BlobSource for Blobs {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.0.get(digest).ok_or(ErrorKind::NotFound)?.clone())))
    }

    fn suspects(&self) -> Suspects {
        Suspects::default()
    }
}

/// An image with one layer that is `content`; the bytes of a layer do not matter here.
fn image(content: &str) -> (Descriptor, Vec<Descriptor>, Blobs) {
    let mut blobs = BTreeMap::new();
    let mut put = |media_type: &str, bytes: Vec<u8>| {
        let descriptor = Descriptor::of(media_type, &bytes);
        blobs.insert(descriptor.digest, bytes);
        descriptor
    };
    let layer = put(media_types::OCI_LAYER, content.into());
    let mut config = ImageConfig::new(&Platform::new("linux", "amd64", None));
    config.rootfs.diff_ids.push(layer.digest);
    let config = put(media_types::OCI_CONFIG, canonical_json(&config));
    let manifest = Manifest::new(config.clone(), vec![layer.clone()]);
    let root = put(media_types::OCI_MANIFEST, canonical_json(&manifest));
    (root, vec![layer, config], Blobs(blobs))
}

fn layout(directory: &TempDir, images: &[(&str, &str)]) -> PathBuf {
    let out = directory.path().join("layout");
    for (reference, content) in images {
        let (root, blobs, source) = image(content);
        write_layout(&out, &root, reference, &blobs, &source, LayoutOptions::default()).unwrap();
    }
    out
}

enum Item<'a> {
    File(&'a str, Vec<u8>),
    Link(&'a str, &'a str),
    HardLink(&'a str, &'a str),
}

fn tar(directory: &TempDir, items: Vec<Item<'_>>) -> PathBuf {
    let path = directory.path().join("image.tar");
    let mut builder = tar::Builder::new(fs::File::create(&path).unwrap());
    for item in items {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        match item {
            Item::File(name, bytes) => {
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, name, &bytes[..]).unwrap();
            }
            Item::Link(name, target) | Item::HardLink(name, target) => {
                let is_hard = matches!(item, Item::HardLink(..));
                header.set_entry_type(if is_hard { tar::EntryType::Link } else { tar::EntryType::Symlink });
                header.set_size(0);
                // Not through `append_link`, which refuses what these tests need.
                header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
                header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
                header.set_cksum();
                builder.append(&header, io::empty()).unwrap();
            }
        }
    }
    builder.finish().unwrap();
    path
}

fn read(image: &DiskImage, digest: &Digest) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    BlobSource::open(image, digest)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check_whole(found: &DiskImage, content: &str) {
    let (root, blobs, source) = image(content);
    assert_eq!((found.root().digest, found.root().size), (root.digest, root.size));
    assert_eq!(found.document(&root.digest).unwrap(), source.0[&root.digest]);
    for blob in blobs {
        assert_eq!(found.size(&blob.digest).unwrap(), blob.size);
        assert_eq!(read(found, &blob.digest).unwrap(), source.0[&blob.digest]);
    }
    assert!(!found.contains(&Digest::of(b"nothing")));
    assert!(matches!(found.open(&Digest::of(b"nothing")), Err(DiskImageError::Missing { .. })));
}

#[test]
fn layouts_and_archives_that_were_written_are_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let out = layout(&directory, &[("docker.io/library/nginx:latest", "one"), ("other:2", "two")]);
    for reference in ["docker.io/library/nginx:latest", "nginx", "nginx:latest"] {
        let found = DiskImage::open_layout(&out, Some(reference)).unwrap();
        check_whole(&found, "one");
        assert_eq!(found.names(), ["docker.io/library/nginx:latest"]);
        assert!(found.root().annotations.is_empty());
    }
    let (root, blobs, source) = image("two");
    check_whole(&DiskImage::open_layout(&out, Some(&root.digest.to_string())).unwrap(), "two");
    let file = directory.path().join("a.tar");
    write_archive(&file, &root, "other:2", &blobs, &source).unwrap();
    for reference in [None, Some("other:2")] {
        let found = DiskImage::open_archive(&file, reference).unwrap();
        check_whole(&found, "two");
        // And what is read can be written again.
        let again = directory.path().join("again.tar");
        write_archive(&again, found.root(), "other:2", &blobs, &found).unwrap();
        assert_eq!(fs::read(&again).unwrap(), fs::read(&file).unwrap());
    }
}

#[test]
fn several_images_none_and_unknown_ones_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let out = layout(&directory, &[("b", "one"), ("a", "two")]);
    let open = |reference| DiskImage::open_layout(&out, reference).unwrap_err();
    assert!(matches!(open(None), DiskImageError::Several { names, .. } if names == ["a", "b"]));
    assert!(matches!(open(Some("c")), DiskImageError::Unknown { names, .. } if names == ["a", "b"]));
    assert!(open(None).to_string().ends_with("holds several images, so say which: `a`, `b`"));
    fs::write(out.join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    assert!(matches!(open(None), DiskImageError::Empty { .. }));
    assert!(matches!(open(Some("a")), DiskImageError::Empty { .. }));
}

#[test]
fn two_names_of_one_image_are_one_image() {
    let directory = tempfile::tempdir().unwrap();
    let out = layout(&directory, &[("b", "one"), ("a", "one")]);
    let found = DiskImage::open_layout(&out, None).unwrap();
    assert_eq!(found.names(), ["a", "b"]);
    check_whole(&found, "one");
}

#[test]
fn platforms_listed_in_index_json_make_it_the_index() {
    let directory = tempfile::tempdir().unwrap();
    let out = layout(&directory, &[("a", "one")]);
    let mut index = Index::new(Vec::new());
    for architecture in ["amd64", "arm64"] {
        let mut descriptor = image(architecture).0;
        descriptor.platform = Some(DescriptorPlatform::from(&Platform::new("linux", architecture, None)));
        index.manifests.push(descriptor);
    }
    let bytes = canonical_json(&index);
    fs::write(out.join("index.json"), &bytes).unwrap();
    let found = DiskImage::open_layout(&out, None).unwrap();
    assert_eq!(found.root(), &Descriptor::of(media_types::OCI_INDEX, &bytes));
    assert_eq!(found.document(&found.root().digest).unwrap(), bytes);
    assert_eq!(read(&found, &found.root().digest).unwrap(), bytes);
    // The same platform twice is two images.
    index.manifests[1].platform = index.manifests[0].platform.clone();
    fs::write(out.join("index.json"), canonical_json(&index)).unwrap();
    assert!(matches!(DiskImage::open_layout(&out, None), Err(DiskImageError::Several { .. })));
}

#[test]
fn what_is_no_layout_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let open = || DiskImage::open_layout(path, None).unwrap_err().to_string();
    assert!(open().contains("has no `oci-layout`"));
    fs::write(path.join("manifest.json"), "[]").unwrap();
    assert!(open().contains("it is a Docker archive"));
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(open().contains("2.0.0"));
    fs::write(path.join("oci-layout"), "x").unwrap();
    assert!(open().contains("OCI layout"));
    fs::write(path.join("oci-layout"), OCI_LAYOUT).unwrap();
    assert!(open().contains("lacks `index.json`"));
    for (text, variant) in [
        ("{", "json"),
        (r#"{"schemaVersion":2,"config":{},"layers":[]}"#, "manifest"),
        (
            r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:../../x","size":1}]}"#,
            "digest",
        ),
        (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, "both"),
    ] {
        fs::write(path.join("index.json"), text).unwrap();
        let error = DiskImage::open_layout(path, None).unwrap_err();
        assert!(matches!(error, DiskImageError::Document { .. }), "{variant}");
    }
    fs::write(path.join("index.json"), " ".repeat(DOCUMENT_LIMIT + 1)).unwrap();
    assert!(open().contains("8 MiB"));
    assert!(matches!(DiskImage::open_layout(&path.join("none"), None), Err(DiskImageError::Io { .. })));
    assert!(matches!(DiskImage::open_layout(&path.join("oci-layout"), None), Err(DiskImageError::Io { .. })));
    assert!(matches!(DiskImage::open_archive(path, None), Err(DiskImageError::Io { .. })));
}

#[test]
fn wrong_bytes_and_links_out_of_the_layout_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let out = layout(&directory, &[("a", "one")]);
    let (root, blobs, source) = image("one");
    let found = DiskImage::open_layout(&out, None).unwrap();
    let path = |digest: &Digest| out.join("blobs/sha256").join(digest.hex());
    let layer = blobs[0].digest;
    fs::write(path(&layer), "onE").unwrap();
    assert_eq!(read(&found, &layer).unwrap_err().kind(), ErrorKind::InvalidData);
    fs::write(path(&root.digest), "{}").unwrap();
    assert!(matches!(found.document(&root.digest), Err(DiskImageError::Invalid { .. })));
    fs::File::create(path(&root.digest)).unwrap().set_len(1 << 40).unwrap();
    assert!(found.document(&root.digest).unwrap_err().to_string().contains("cannot be used"));
    // Outside are the right bytes, but they are not the layout's.
    let outside = directory.path().join("outside");
    fs::write(&outside, &source.0[&layer]).unwrap();
    fs::remove_file(path(&layer)).unwrap();
    symlink(&outside, path(&layer)).unwrap();
    assert!(read(&found, &layer).unwrap_err().to_string().contains("cannot be used"));
    fs::remove_file(path(&layer)).unwrap();
    fs::rename(&outside, out.join("inside")).unwrap();
    symlink("../../inside", path(&layer)).unwrap();
    assert_eq!(read(&found, &layer).unwrap(), b"one");
    fs::remove_file(path(&layer)).unwrap();
    fs::create_dir(path(&layer)).unwrap();
    assert!(!found.contains(&layer));
}

#[test]
fn a_link_that_leads_to_itself_is_no_blob() {
    let directory = tempfile::tempdir().unwrap();
    let out = layout(&directory, &[("a", "one")]);
    let layer = image("one").1[0].digest;
    let path = out.join("blobs/sha256").join(layer.hex());
    fs::remove_file(&path).unwrap();
    symlink(layer.hex(), &path).unwrap();
    let found = DiskImage::open_layout(&out, None).unwrap();
    assert!(!found.contains(&layer));
}

/// The members of an archive as `docker save` wrote it before version 25, with two layers, of which the second is
/// a link to the first's file.
fn docker_items(diff_ids: &[Digest], tags: &str) -> Vec<Item<'static>> {
    let mut config = ImageConfig::new(&Platform::new("linux", "amd64", None));
    config.rootfs.diff_ids = diff_ids.to_vec();
    let manifest = format!(
        r#"[{{"Config":"cfg.json","RepoTags":{tags},"Layers":["./a/layer.tar","b/layer.tar"],"LayerSources":{{}}}}]"#
    );
    vec![
        Item::File("a/VERSION", b"1.0".to_vec()),
        Item::File("a/layer.tar", b"layer".to_vec()),
        Item::Link("b/layer.tar", "../a/layer.tar"),
        Item::File("cfg.json", canonical_json(&config)),
        Item::File("manifest.json", manifest.into_bytes()),
        Item::File("repositories", b"{}".to_vec()),
    ]
}

#[test]
fn an_old_docker_archive_gets_a_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let layer = Digest::of(b"layer");
    let file = tar(&directory, docker_items(&[layer, layer], r#"["x:2","nginx:1"]"#));
    for reference in [None, Some("nginx:1"), Some("docker.io/library/nginx:1"), Some("cfg.json")] {
        let found = DiskImage::open_docker_archive(&file, reference).unwrap();
        assert_eq!(found.names(), ["nginx:1", "x:2"]);
        let bytes = found.document(&found.root().digest).unwrap();
        let Document::Manifest(manifest) = Document::parse(&found.root().media_type, &bytes).unwrap() else {
            panic!()
        };
        let expected = Descriptor::new(media_types::OCI_LAYER, layer, 5);
        assert_eq!(manifest.layers, [expected.clone(), expected]);
        assert_eq!(read(&found, &layer).unwrap(), b"layer");
        let config = ImageConfig::parse(&found.document(&manifest.config.digest).unwrap()).unwrap();
        assert_eq!(config.rootfs.diff_ids, [layer, layer]);
        assert_eq!(found.size(&manifest.config.digest).unwrap(), manifest.config.size);
    }
    let error = DiskImage::open_docker_archive(&file, Some("y")).unwrap_err().to_string();
    assert!(error.ends_with("holds no image `y`; it holds `nginx:1`, `x:2`"), "{error}");
    assert!(DiskImage::open_archive(&file, None).unwrap_err().to_string().contains("Docker archive"));
}

#[test]
fn compressed_layers_of_a_docker_archive_are_kept_compressed() {
    let directory = tempfile::tempdir().unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"layer").unwrap();
    let packed = encoder.finish().unwrap();
    let mut items = docker_items(&[Digest::of(b"layer"); 2], "null");
    items[1] = Item::File("a/layer.tar", packed.clone());
    let found = DiskImage::open_docker_archive(&tar(&directory, items), None).unwrap();
    let bytes = found.document(&found.root().digest).unwrap();
    let Document::Manifest(manifest) = Document::parse("", &bytes).unwrap() else { panic!() };
    assert_eq!(manifest.layers[0], Descriptor::of(media_types::OCI_LAYER_GZIP, &packed));
    assert_eq!(read(&found, &manifest.layers[0].digest).unwrap(), packed);
    // A broken one is no panic.
    let mut items = docker_items(&[Digest::of(b"layer"); 2], "null");
    items[1] = Item::File("a/layer.tar", packed[..packed.len() - 3].to_vec());
    assert!(matches!(
        DiskImage::open_docker_archive(&tar(&directory, items), None),
        Err(DiskImageError::Invalid { .. })
    ));
}

#[test]
fn a_new_docker_archive_is_read_as_the_layout_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let (root, blobs, source) = image("one");
    let entry = root
        .clone()
        .annotated("io.containerd.image.name", "docker.io/library/nginx:1")
        .annotated(REFERENCE_NAME, "1");
    let mut items = vec![
        Item::File("oci-layout", OCI_LAYOUT.to_vec()),
        Item::File("index.json", canonical_json(&Index::new(vec![entry]))),
        Item::File("manifest.json", b"[]".to_vec()),
    ];
    let names: Vec<String> = source.0.keys().map(|digest| format!("blobs/sha256/{}", digest.hex())).collect();
    for (name, bytes) in names.iter().zip(source.0.values()) {
        items.push(Item::File(name, bytes.clone()));
    }
    let file = tar(&directory, items);
    for reference in [None, Some("nginx:1"), Some("1")] {
        let found = DiskImage::open_docker_archive(&file, reference).unwrap();
        assert_eq!(found.names(), ["1", "docker.io/library/nginx:1"]);
        check_whole(&found, "one");
    }
    drop(blobs);
}

#[test]
fn what_skopeo_writes_as_a_docker_archive_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let out = layout(&directory, &[("a", "one")]);
    let file = directory.path().join("docker.tar");
    let mut command = std::process::Command::new("skopeo");
    command.args(["--insecure-policy", "copy", &format!("oci:{}:a", out.display())]);
    command.arg(format!("docker-archive:{}:nginx:1", file.display()));
    let Ok(output) = command.output() else {
        eprintln!("SKIPPED: skopeo is not installed, so no Docker archive of its was read");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = DiskImage::open_docker_archive(&file, Some("docker.io/library/nginx:1")).unwrap();
    assert_eq!(found.names(), ["docker.io/library/nginx:1"]);
    let bytes = found.document(&found.root().digest).unwrap();
    let Document::Manifest(manifest) = Document::parse("", &bytes).unwrap() else { panic!() };
    assert_eq!(manifest.layers, [Descriptor::of(media_types::OCI_LAYER, b"one")]);
    assert_eq!(read(&found, &manifest.layers[0].digest).unwrap(), b"one");
}

#[test]
fn hostile_docker_archives_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let layer = Digest::of(b"layer");
    let good = || docker_items(&[layer, layer], r#"["a:1"]"#);
    let refused = |items: Vec<Item<'_>>, expected: &str| {
        let error = DiskImage::open_docker_archive(&tar(&directory, items), None).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} should say {expected}");
    };
    let with = |place: usize, item: Item<'static>| {
        let mut items = good();
        items[place] = item;
        items
    };
    refused(docker_items(&[layer], "null"), "2 layers, and the configuration 1");
    refused(docker_items(&[layer, Digest::of(b"")], "null"), "the configuration says");
    refused(with(1, Item::File("a/layer.tar", b"other".to_vec())), "its tar gives");
    refused(with(1, Item::File("c", Vec::new())), "lacks `./a/layer.tar`");
    refused(with(2, Item::Link("b/layer.tar", "../../etc/passwd")), "leads out of the archive");
    refused(with(2, Item::Link("b/layer.tar", "/etc/passwd")), "leads out of the archive");
    refused(with(2, Item::Link("b/layer.tar", "layer.tar")), "links only");
    refused(with(2, Item::HardLink("b/layer.tar", "../a/layer.tar")), "leads out of the archive");
    refused(with(3, Item::File("cfg.json", b"{}".to_vec())), "`cfg.json`");
    refused(with(4, Item::File("manifest.json", b"[]".to_vec())), "holds no image");
    refused(with(4, Item::File("manifest.json", b"[{}]".to_vec())), "`manifest.json`");
    let outside = br#"[{"Config":"../cfg.json","Layers":[]}]"#;
    refused(with(4, Item::File("manifest.json", outside.to_vec())), "leads out of the archive");
    refused(with(4, Item::File("x", Vec::new())), "neither a `manifest.json`");
    refused(with(5, Item::File("manifest.json", b"[]".to_vec())), "more than once");
    let two =
        br#"[{"Config":"cfg.json","RepoTags":null,"Layers":[]},{"Config":"d.json","RepoTags":["a:1"]}]"#;
    refused(with(4, Item::File("manifest.json", two.to_vec())), "`a:1`, `cfg.json`");
    let hard = DiskImage::open_docker_archive(
        &tar(&directory, with(2, Item::HardLink("b/layer.tar", "a/layer.tar"))),
        None,
    );
    hard.unwrap();
}

#[test]
fn files_that_are_no_tar_or_end_early_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.tar");
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = DiskImage::open_archive(&path, None).unwrap_err();
        DiskImage::open_docker_archive(&path, None).unwrap_err();
        error.to_string()
    };
    for bytes in [&b""[..], b"hello", &[0; 1024], &[b'x'; 2048], &[0xff; 4096]] {
        assert!(open(bytes).contains("no tar archive"), "{bytes:?}");
    }
    assert!(open(b"\x1f\x8b\x08\0").contains("compressed with gzip"));
    assert!(open(b"\x28\xb5\x2f\xfd").contains("compressed with zstd"));
    let good = fs::read(tar(&directory, vec![Item::File("a", vec![7; 5000])])).unwrap();
    assert!(open(&good[..3000]).contains("in the middle of `a`"));
    // A size that no file has, in base 256.
    let mut absurd = good.clone();
    absurd[124] = 0x80;
    absurd[125..136].fill(0xff);
    let mut header = tar::Header::from_byte_slice(&absurd[..512]).clone();
    header.set_cksum();
    absurd[..512].copy_from_slice(header.as_bytes());
    assert!(open(&absurd).contains("no tar archive"));
}

#[test]
fn an_endless_long_name_costs_no_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.tar");
    let size = 64 << 30;
    for kind in [b'L', b'K', b'x'] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_cksum();
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.set_len(size + 4096).unwrap();
        let error = DiskImage::open_archive(&path, None).unwrap_err().to_string();
        assert!(error.contains("over 1 MiB"), "{error}");
    }
}
