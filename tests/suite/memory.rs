//! What is stored is streamed: whatever goes through kic does so in an amount of memory that is fixed, however large it is, and
//! however much.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::kic::{kic, program, shown};
use crate::support::random::Random;
use crate::support::registry_data::{RegistryData, write_large};
use crate::support::stock_registry::StockRegistry;

/// What the whole process may have in memory at any time that fetches, writes out, or unpacks.
const FETCHING: u64 = 64 << 20;

/// The same for one that packs files into layers.
const PACKING: u64 = 96 << 20;

/// How much more a debug build has in memory, of its code above all.
const DEBUG: u64 = 20 << 20;

/// The most memory that a process has had so far, in bytes, as Linux tells.
fn most_resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Whether memory can be measured here. Says loudly when not.
fn is_measured() -> bool {
    let is_measured = most_resident(std::process::id()).is_some();
    if !is_measured {
        eprintln!("SKIPPED: only Linux tells how much memory a process has had");
    }
    is_measured
}

/// A folder, in memory where that works: so many bytes are synced there at once.
fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Runs kic in `folder`, and holds the most memory that it had against the bound.
fn assert_bound(folder: &Path, arguments: &[&str], bound: u64) {
    // One that has nothing to do may be over before anybody looks, on a machine with much else to do: then once more.
    let mut most = 0;
    for _ in 0..10 {
        most = measure(folder, arguments);
        // A process that does nothing has some megabytes: the measure works.
        if most > 5 << 20 {
            break;
        }
    }
    assert!(most > 5 << 20, "{most}");
    let bound = if program().parent().unwrap().ends_with("release") { bound } else { bound + DEBUG };
    assert!(most < bound, "{arguments:?}: {} MB, and not {}", megabytes(most), megabytes(bound));
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Runs kic in `folder`, and gives the most memory that it was seen with.
fn measure(folder: &Path, arguments: &[&str]) -> u64 {
    let mut command = kic(folder, &folder.join("store"));
    let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most_resident(child.id()).unwrap_or(0).max(most);
        assert!(began.elapsed() < Duration::from_secs(300), "it hangs");
        let is_young = began.elapsed() < Duration::from_millis(100);
        std::thread::sleep(if is_young { Duration::from_micros(100) } else { Duration::from_millis(5) });
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    eprintln!("kic {}: {} MB at most, {:?}", arguments.join(" "), megabytes(most), began.elapsed());
    most
}

fn write_spec(folder: &Path, content: &str) {
    fs::create_dir_all(folder).unwrap();
    let text = format!("cluster \"large\" version=\"v1\" {{\n    base scratch\n    {content}\n}}\n");
    fs::write(folder.join("cluster.kdl"), text).unwrap();
}

#[test]
fn a_layer_of_a_gigabyte_is_fetched_and_written_out_and_unpacked() {
    if !is_measured() {
        return;
    }
    let place = quick_folder();
    let folder = place.path();
    let data = RegistryData::new(&folder.join("upstream"));
    data.image("large", &[data.large_layer("large", 1, 1024)]);
    let Some(registry) = StockRegistry::start(&folder.join("upstream"), true) else { return };
    let image = format!("image \"{}/large:v1\"", registry.host);
    write_spec(folder, &format!("registry \"sea.hub:5000\" {{ {image}; }}"));
    assert_bound(folder, &["compile", "--quiet", "-o", "large.oci", "--jobs", "8"], FETCHING);
    let written = fs::read_dir(folder.join("large.oci/blobs/sha256")).unwrap();
    let written: u64 = written.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(written > 1 << 30, "{written}");
    fs::remove_dir_all(folder.join("upstream")).unwrap();
    for arguments in [&["compile", "--quiet", "-o", "large.tar"][..], &["unpack", "large.oci", "root"]] {
        assert_bound(folder, arguments, FETCHING);
    }
}

#[test]
fn a_thousand_images_are_fetched() {
    if !is_measured() {
        return;
    }
    let place = quick_folder();
    let folder = place.path();
    let data = RegistryData::new(&folder.join("upstream"));
    let mut random = Random::new(3);
    for number in 0..1000 {
        let repository = format!("small/{number}");
        data.image(&repository, &[data.layer(&repository, &random.bytes(3000))]);
    }
    let Some(registry) = StockRegistry::start(&folder.join("upstream"), true) else { return };
    let images: String =
        (0..1000).map(|number| format!("image \"{}/small/{number}:v1\"\n", registry.host)).collect();
    write_spec(folder, &format!("registry \"sea.hub:5000\" {{\n{images}}}"));
    assert_bound(folder, &["compile", "--quiet", "-o", "small.oci", "--jobs", "8"], FETCHING);
    // With nothing changed, and with something.
    assert_bound(folder, &["compile", "--quiet", "-o", "small.oci"], FETCHING);
    write_spec(folder, &format!("label \"a\" \"b\"; registry \"sea.hub:5000\" {{\n{images}}}"));
    assert_bound(folder, &["compile", "--quiet", "-o", "small.oci"], FETCHING);
}

#[test]
fn large_files_and_many_files_and_many_layers_are_packed() {
    if !is_measured() {
        return;
    }
    let place = quick_folder();
    let folder = place.path();
    for name in ["one", "some", "many"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    write_large(&folder.join("one/file"), 2, 1024);
    write_large(&folder.join("some/file"), 3, 100);
    let mut random = Random::new(4);
    for number in 0..20_000 {
        let path = folder.join(format!("many/{}/{number}", number % 100));
        if number < 100 {
            fs::create_dir(path.parent().unwrap()).unwrap();
        }
        fs::write(path, random.bytes(1500)).unwrap();
    }
    let tree = |name: &str, to: &str| format!("files \"{to}\" {{ copy \"../{name}\" to=\"/{to}\"; }}\n");
    // Layers that would all be packed at one time.
    let mut layers: String = (0..4).map(|number| tree("some", &format!("n{number}"))).collect();
    layers.push_str(&tree("many", "many"));
    let specs = [("a", tree("one", "one")), ("b", tree("many", "many")), ("c", layers)];
    for (name, content) in specs {
        write_spec(&folder.join(name), &content);
        assert_bound(&folder.join(name), &["compile", "--quiet", "--jobs", "8"], PACKING);
    }
    for store in ["a", "b", "c"] {
        fs::remove_dir_all(folder.join(store)).unwrap();
    }
}
