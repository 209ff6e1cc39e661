//! Errors of registries and servers that need more than an odd answer: credentials, files that change, a redirect out of
//! https. Odd answers are cases in `faults.rs`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kic_base::Digest;
use kic_registry::scripted_server::Reply;
use serde_json::Value;

use crate::support::kic::{kic, shown, stdout};
use crate::support::peers::peer;
use crate::support::server::Server;
use crate::support::sharing_specs::{SharingSpecs, VARIANTS};

/// Writes a spec with this inside, and compiles it; `Command` may get more arguments and variables.
fn compile(folder: &Path, inside: &str, change: impl FnOnce(&mut Command)) -> Output {
    fs::write(folder.join("cluster.kdl"), format!("cluster \"shop\" {{\n{inside}\n}}\n")).unwrap();
    let mut command = kic(folder, &folder.join("store"));
    command.args(["compile", "--format", "json", "-o", "out.oci"]);
    change(&mut command);
    command.output().unwrap()
}

/// Holds that a run ended with one error of `code`, on the second line of the spec, with `words` in what it says, and
/// left no image.
fn assert_ends(output: &Output, code: &str, words: &[&str], folder: &Path) {
    let said: Value = serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", shown(output)));
    let one = &said[0];
    assert_eq!(said.as_array().unwrap().len(), 1, "{}", shown(output));
    assert_eq!(one["code"], code, "{}", shown(output));
    assert_eq!(one["labels"][0]["line"], 3, "{}", shown(output));
    let text = format!("{} {}", one["message"].as_str().unwrap(), one["help"].as_str().unwrap());
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    assert_eq!(output.status.code(), Some(2), "{}", shown(output));
    assert!(!folder.join("out.oci").exists());
}

fn wants_credentials() -> Server {
    Server::start(|request| match request.header("authorization") {
        None => Reply::new(401).header("www-authenticate", "Basic realm=\"shop\""),
        Some(_) => Reply::new(403),
    })
}

#[test]
fn a_docker_configuration_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = wants_credentials();
    fs::create_dir(folder.path().join("docker")).unwrap();
    fs::write(folder.path().join("docker/config.json"), "{ \"auths\": { secret-word").unwrap();
    let base = format!("base scratch\nregistry \"sea.hub:5000\" {{ image \"{}/shop:v1\"; }}", server.host());
    let output = compile(folder.path(), &base, |command| {
        command.env("DOCKER_CONFIG", folder.path().join("docker"));
    });
    assert_ends(&output, "docker-config", &["config.json", "mend the file"], folder.path());
    assert!(!String::from_utf8_lossy(&output.stderr).contains("secret-word"), "no part of the file is shown");
}

#[test]
fn credentials_are_found_where_podman_and_skopeo_write_them() {
    let server = wants_credentials();
    let auths = |key: &str| format!("{{ \"auths\": {{ \"{key}\": {{ \"auth\": \"bWU6aGlkZGVu\" }} }} }}");
    let base = format!("base scratch\nregistry \"sea.hub:5000\" {{ image \"{}/shop:v1\"; }}", server.host());
    for (variable, value, file) in [
        ("REGISTRY_AUTH_FILE", "named.json", "named.json"),
        ("XDG_RUNTIME_DIR", "run", "run/containers/auth.json"),
        ("XDG_CONFIG_HOME", "settings", "settings/containers/auth.json"),
        ("DOCKER_CONFIG", "docker", "docker/config.json"),
        ("NOTHING_MORE", "", ".config/containers/auth.json"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, auths(&server.host())).unwrap();
        // Docker's own file, which knows another registry alone, does not stand in the way.
        fs::create_dir_all(folder.path().join(".docker")).unwrap();
        fs::write(folder.path().join(".docker/config.json"), auths("other.example.com")).unwrap();
        let output = compile(folder.path(), &base, |command| {
            command.env(variable, folder.path().join(value));
        });
        let place = file.file_name().unwrap().to_str().unwrap();
        assert_ends(&output, "registry-forbidden", &["with the credentials of", place], folder.path());
    }
}

#[test]
fn a_login_is_to_the_registry_and_not_to_its_token_server() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = Server::start(|_| Reply::new(401));
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"shop\"", tokens.host());
    let server = Server::start(move |_| Reply::new(401).header("www-authenticate", &realm));
    let base = format!("base scratch\nregistry \"sea.hub:5000\" {{ image \"{}/shop:v1\"; }}", server.host());
    let output = compile(folder.path(), &base, |_| {});
    let login = format!("`docker login {}`", server.host());
    assert_ends(&output, "registry-unauthorized", &[&login, &tokens.host()], folder.path());
}

#[test]
fn a_proxy_that_is_none_is_told_only_where_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let files = "base scratch\nfiles \"x\" { fetch \"http://files.example.com/file\" to=\"/file\"; }";
    let output = compile(folder.path(), files, |command| {
        command.env("http_proxy", "socks5://user:secret-word@proxy.example.com");
    });
    assert_ends(&output, "registry-proxy", &["socks5://proxy.example.com", "HTTP_PROXY"], folder.path());
    assert!(!String::from_utf8_lossy(&output.stderr).contains("secret-word"));
    let local = tempfile::tempdir().unwrap();
    let output = compile(local.path(), "base scratch\nfiles \"x\" { text \"/a\" \"b\"; }", |command| {
        command.env("http_proxy", "socks5://proxy.example.com").env("https_proxy", "http://[");
    });
    assert!(output.status.success(), "{}", shown(&output));
}

#[test]
fn a_long_wait_is_told_of_while_it_lasts() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Reply::new(429).header("retry-after", "90"));
    let inside =
        format!("base scratch\nregistry \"sea.hub:5000\" {{ image \"{}/shop:v1\"; }}", server.host());
    fs::write(folder.path().join("cluster.kdl"), format!("cluster \"shop\" {{\n{inside}\n}}\n")).unwrap();
    let mut command = kic(folder.path(), &folder.path().join("store"));
    let mut running = command
        .args(["compile", "-o", "out.oci"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(running.stderr.take().unwrap()).read_line(&mut line).unwrap();
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(line.starts_with("waiting 90 s before the next try: too many requests"), "{line}");
    assert!(line.contains(&server.host()), "{line}");
}

#[test]
fn a_credential_helper_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = wants_credentials();
    let helpers = format!("{{ \"credHelpers\": {{ \"{}\": \"nobody-has-this-one\" }} }}", server.host());
    fs::create_dir(folder.path().join(".docker")).unwrap();
    fs::write(folder.path().join(".docker/config.json"), helpers).unwrap();
    let base = format!("base scratch\nregistry \"sea.hub:5000\" {{ image \"{}/shop:v1\"; }}", server.host());
    let output = compile(folder.path(), &base, |_| {});
    let words = ["docker-credential-nobody-has-this-one", "check that it is installed"];
    assert_ends(&output, "credential-helper", &words, folder.path());
}

#[test]
fn a_file_that_changes_while_it_is_downloaded_is_not_put_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut version = 0;
    let server = Server::start(move |request| {
        version += 1;
        let bytes = vec![b'a' + u8::try_from(version % 20).unwrap(); 100_000];
        Reply::file(request, &bytes).header("etag", &format!("\"{version}\"")).cut_after(60_000)
    });
    let files =
        format!("base scratch\nfiles \"x\" {{ fetch \"http://{}/file\" to=\"/file\"; }}", server.host());
    let output = compile(folder.path(), &files, |_| {});
    assert_ends(
        &output,
        "changed-while-downloading",
        &["changed while it was downloaded", "run again"],
        folder.path(),
    );
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let files = "base scratch\nfiles \"x\" { fetch \"http://files.example.com/file\" to=\"/file\"; }";
    let output = compile(folder.path(), files, |command| {
        command.env("http_proxy", format!("http://user:secret-word@{closed}"));
    });
    assert_ends(&output, "registry-proxy", &["HTTP_PROXY"], folder.path());
    assert!(!String::from_utf8_lossy(&output.stderr).contains("secret-word"));
}

#[test]
fn a_redirect_from_https_to_http_is_not_followed() {
    let Some(openssl) = peer("openssl") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut request = Command::new(&openssl);
    request
        .current_dir(path)
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", "key.pem"]);
    request.args([
        "-out",
        "certificate.pem",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
    ]);
    request.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    stdout(&mut request);
    let answer = "HTTP/1.1 302 Found\r\nLocation: http://files.example.com/file\r\nContent-Length: 0\r\n\r\n";
    fs::write(path.join("file"), answer).unwrap();
    let mut server = Command::new(&openssl);
    server.current_dir(path).args([
        "s_server",
        "-accept",
        "127.0.0.1:0",
        "-cert",
        "certificate.pem",
        "-key",
        "key.pem",
    ]);
    let mut server = server
        .arg("-HTTP")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // `ACCEPT 127.0.0.1:PORT`
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port =
        lines.find_map(|line| line.strip_prefix("ACCEPT ")?.rsplit(':').next().map(str::to_owned)).unwrap();
    let files =
        format!("base scratch\nfiles \"x\" {{ fetch \"https://localhost:{port}/file\" to=\"/file\"; }}");
    let output = compile(path, &files, |command| {
        command.args(["--ca-file", "certificate.pem"]);
    });
    drop(server.kill());
    drop(server.wait());
    assert_ends(&output, "insecure-redirect", &["files.example.com", "--insecure-registry"], path);
}

#[test]
fn a_pin_that_somebody_edited_is_named() {
    let place = SharingSpecs::new(1, 1 << 10);
    place.assert_compiles(0, &place.path("store"), &[]);
    let lock = place.path(VARIANTS[0]).join("kic.lock");
    let text = fs::read_to_string(&lock).unwrap();
    let run = || {
        let mut command = place.compile(0, &place.path("empty"), &place.path("out.oci"));
        let output = command.args(["--format", "json"]).output().unwrap();
        let said: Value =
            serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", shown(&output)));
        assert!(!place.path("out.oci").exists());
        (said, output.status.code())
    };
    let size = text.split(" size=").nth(1).unwrap().split_whitespace().next().unwrap();
    fs::write(&lock, text.replacen(&format!(" size={size}"), " size=5", 1)).unwrap();
    let (said, status) = run();
    assert_eq!((said[0]["code"].as_str(), status), (Some("invalid-lock"), Some(1)), "{said:#}");
    assert!(said[0]["message"].as_str().unwrap().contains("with 5 bytes"), "{said:#}");

    // The registry has lost what the lock pins.
    let server = Server::start(|_| Reply::new(404));
    let reference = format!("{}/greeter:v1", server.host());
    let digest = Digest::of(b"another");
    let folder = tempfile::tempdir().unwrap();
    let pin = format!(
        "image \"{reference}\" digest=\"{digest}\" media-type=\"application/vnd.oci.image.manifest.v1+json\" size=5"
    );
    let lock = format!(
        "lock version=1 epoch=1 {{\n{pin} {{\nplatform \"linux/amd64\" digest=\"{digest}\"\n}}\n}}\n"
    );
    fs::write(folder.path().join("kic.lock"), lock).unwrap();
    let inside = format!("base scratch\nregistry \"sea.hub:5000\" {{ image \"{reference}\"; }}");
    let output = compile(folder.path(), &inside, |_| ());
    let said: Value = serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", shown(&output)));
    assert_eq!(said[0]["code"], "image-not-found", "{said:#}");
    assert!(said[0]["help"].as_str().unwrap().contains("kic lock --update"), "{said:#}");
}

#[test]
fn what_is_fetched_is_told_without_the_secrets_in_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|request| match request.target.as_str() {
        "/tool?token=secret-word" => Reply::file(request, b"a tool"),
        _ => Reply::new(404),
    });
    let inside = format!(
        "base scratch\nfiles \"tools\" {{ fetch \"http://{}/tool?token=secret-word\" to=\"/tool\"; }}",
        server.host()
    );
    fs::write(folder.path().join("cluster.kdl"), format!("cluster \"shop\" {{\n{inside}\n}}\n")).unwrap();
    let shown_url = format!("http://{}/tool", server.host());
    let run = |arguments: &[&str]| {
        let output = kic(folder.path(), &folder.path().join("store")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        assert!(!shown(&output).contains("secret-word"), "{}", shown(&output));
        shown(&output)
    };
    assert!(run(&["lock"]).contains(&format!("resolved {shown_url}\n")));
    // The bytes are there; without them, they are fetched once more, by the lock.
    assert!(run(&["plan"]).contains(&shown_url));
    fs::remove_dir_all(folder.path().join("store")).unwrap();
    assert!(run(&["compile", "-o", "out.oci"]).contains(&shown_url));
    run(&["graph"]);
    run(&["inspect", "out.oci"]);
    // Why the layer is built again, and from where.
    let spec = fs::read_to_string(folder.path().join("cluster.kdl")).unwrap();
    fs::write(folder.path().join("cluster.kdl"), spec.replace("to=\"/tool\"", "to=\"/bin/tool\"")).unwrap();
    run(&["compile", "--explain", "-o", "out.oci"]);
}
