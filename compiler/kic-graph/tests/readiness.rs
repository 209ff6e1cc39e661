//! What a readiness script does with every answer that a cluster can give, under every shell that is here.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{command, exists, for_each_on_every_machine, hasty, on_every_machine, patient, peer};
use kic_graph::{readiness_json, readiness_script};
use kic_spec::readiness::{Check, CheckKind};

/// A check of every kind, as the seed's base image would have them.
fn every_kind() -> Vec<Check> {
    let kyverno = || Some("kyverno".to_owned());
    let kinds = vec![
        CheckKind::Established {
            crds: vec!["clusterpolicies.kyverno.io".into(), "policies.kyverno.io".into()],
        },
        CheckKind::Rollout { resource: "deployment/kyverno".into(), namespace: kyverno() },
        CheckKind::Condition {
            resource: "nodes".into(),
            condition: "Ready".into(),
            status: "True".into(),
            namespace: None,
        },
        CheckKind::Exists { resource: "secret/kyverno-svc".into(), namespace: kyverno() },
        CheckKind::Jsonpath {
            resource: "clusterpolicies".into(),
            path: ".status.ready".into(),
            equals: "true".into(),
            namespace: None,
        },
        CheckKind::Jsonpath {
            resource: "clusterpolicy/redirect-registry".into(),
            path: "{.status.ready}".into(),
            equals: "true".into(),
            namespace: None,
        },
        CheckKind::Nodes { count: 3 },
        CheckKind::Endpoints { service: "kyverno-svc".into(), namespace: kyverno(), count: 1 },
        CheckKind::Webhook {
            resource: "validatingwebhookconfiguration/kyverno-policy-validating-webhook-cfg".into(),
        },
        CheckKind::Admits {
            object: serde_json::json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "it's", "namespace": "kyverno" },
            }),
        },
        CheckKind::Policy { resource: "clusterpolicies".into(), namespace: None },
        CheckKind::Policy { resource: "policy/redirect".into(), namespace: kyverno() },
        CheckKind::Http { url: "https://sea.hub:5000/v2/".into(), status: 200, insecure: true },
        command("kubectl auth can-i create pods"),
    ];
    kinds.into_iter().map(|what| Check { what, timeout_seconds: 300, interval_seconds: 2 }).collect()
}

fn expect_file(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readiness").join(name);
    #[allow(clippy::disallowed_methods)]
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{} differs; UPDATE_EXPECT=1 rewrites it. Now:\n{text}", path.display());
}

#[test]
fn json_and_script_are_the_golden_ones() {
    expect_file("kyverno.json", &String::from_utf8(readiness_json("kyverno", &every_kind())).unwrap());
    expect_file("wait-kyverno.sh", &readiness_script("kyverno", &every_kind()));
}

#[test]
fn shellcheck_finds_nothing_in_any_script() {
    let Some(shellcheck) = peer("shellcheck") else { return };
    let folder = tempfile::TempDir::new().unwrap();
    let mut scripts = vec![readiness_script("all", &every_kind()), readiness_script("none", &[])];
    scripts.extend(every_kind().into_iter().map(|check| readiness_script("one", &[check])));
    let odd = hasty(command("echo 'it''s'; echo \"a  b\" $(date) `id` \\ \n# end"));
    scripts.push(readiness_script("o'dd \"name\" $(x)\n", &[odd]));
    for (index, script) in scripts.iter().enumerate() {
        let path = folder.path().join(format!("{index}.sh"));
        std::fs::write(&path, script).unwrap();
        let output = Command::new(&shellcheck).arg("--shell=sh").arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn ready_at_once_is_status_0_without_a_pause() {
    let ready = "echo call >>$here/calls; case $* in
         *webhooks*) echo 'a||kyverno|kyverno-svc|Q0E=';; *subsets*) echo 10.0.0.1;;
         *conditionStatus*) echo 'redirect|true|||';; *Ready*nodes*) printf 'a|True\\nb|True\\nc|True\\n';;
         *jsonpath*range*) printf 'true\\ntrue\\n';; *jsonpath*) printf true;; *) echo x/y;; esac";
    on_every_machine(|machine| {
        machine.stand_in("kubectl", ready);
        machine.stand_in("curl", "printf 200");
        let outcome = machine.wait_for(&every_kind());
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
        assert_eq!(
            outcome.stderr.matches(": ready after ").count(),
            every_kind().len(),
            "{}",
            outcome.stderr
        );
        let calls = machine.left("calls").lines().count();
        assert_eq!(
            calls, 14,
            "one for each check that asks kubectl, and one more for the service of a webhook"
        );
    });
}

#[test]
fn ready_at_the_third_try_is_status_0_and_an_unchanged_answer_is_said_once() {
    let third = "echo try >>$here/tries
         [ \"$(cat $here/tries)\" != \"$(printf 'try\\ntry\\ntry')\" ] || { echo deployment.apps/shop; exit; }
         echo \"E1122 17:31:43.$$ $$ memcache.go:265] no API group list\" >&2
         echo \"E1122 17:31:44.$$ $$ memcache.go:265] no API group list\" >&2
         echo 'Error from server (NotFound): not found' >&2
         exit 1";
    on_every_machine(|machine| {
        machine.stand_in("kubectl", third);
        let outcome = machine.wait_for(&[patient(exists("deployment/shop"))]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        assert_eq!(machine.left("tries").lines().count(), 3);
        let said = "\n    memcache.go:265] no API group list\n    Error from server (NotFound): not found\n";
        assert_eq!(outcome.stderr.matches(said).count(), 1, "{}", outcome.stderr);
        assert_eq!(outcome.stderr.matches("no API group list").count(), 1, "{}", outcome.stderr);
        assert!(outcome.took >= Duration::from_secs(2));
    });
}

#[test]
fn never_ready_is_status_1_with_the_check_and_the_last_error() {
    let cases = [
        (
            "echo 'Error from server (NotFound): deployments.apps \"shop\" not found' >&2; exit 1",
            "(NotFound)",
        ),
        ("echo 'Error from server (Forbidden): User \"x\" cannot get' >&2; exit 1", "(Forbidden)"),
        ("echo 'Unable to connect to the server: dial tcp' >&2; exit 1", "Unable to connect"),
        ("exit 7", "exit status 7, and not a word"),
        ("exit 0", "there is none yet"),
        (
            "i=0; while [ $i -lt 99 ]; do i=$((i+1)); printf 'a\\033[2J\\000b %s\\n' $i; done >&2; exit 1",
            "b 99\n",
        ),
    ];
    for_each_on_every_machine(&cases, |(answer, said), machine| {
        machine.stand_in("kubectl", answer);
        let outcome = machine.wait_for(&[hasty(exists("deployment/shop")), hasty(command("true"))]);
        assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
        let (_, end) = outcome.stderr.split_once("NOT READY after ").unwrap();
        assert!(end.contains("existence of deployment/shop"), "{}", outcome.stderr);
        assert!(end.contains(said), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains(['\u{1b}', '\0']), "{}", outcome.stderr);
        assert!(outcome.stderr.lines().count() < 50, "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("success of: true"), "the second check's turn never came");
    });
}

#[test]
fn the_check_that_failed_is_named_after_those_that_passed() {
    on_every_machine(|machine| {
        let failing = command("echo not so >&2; false");
        let outcome = machine.wait_for(&[patient(command("true")), hasty(failing)]);
        assert_eq!(outcome.status, Some(1));
        assert!(outcome.stderr.contains(" s: success of: true\n"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(" s: success of: echo not so"), "{}", outcome.stderr);
        assert!(outcome.stderr.ends_with("    not so\n"), "{}", outcome.stderr);
    });
}

#[test]
fn a_missing_program_is_status_2_at_once() {
    on_every_machine(|machine| {
        let kubectl = [patient(exists("node/a"))];
        let outcome = machine.wait_for(&kubectl);
        assert_eq!(outcome.status, Some(2));
        assert_eq!(outcome.stderr, "wait-shop: there is no kubectl on this machine\n");
        let outcome = machine.run("shop", &kubectl, &[], Some("k 3 s"));
        assert_eq!(outcome.stderr, "wait-shop: there is no k 3 s on this machine\n");
        let outcome = machine.wait_for(&[patient(http("http://127.0.0.1:1/", 200))]);
        assert_eq!(outcome.status, Some(2));
        assert_eq!(outcome.stderr, "wait-shop: there is no curl or wget on this machine\n");
        // A check that needs none does not ask for one.
        assert_eq!(machine.wait_for(&[patient(command("true"))]).status, Some(0));
    });
}

#[test]
fn kubectl_may_be_another_program() {
    on_every_machine(|machine| {
        let path = machine.stand_in("other kubectl", "echo node/a");
        let outcome = machine.run("shop", &[patient(exists("node/a"))], &[], path.to_str());
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    });
}

#[test]
fn one_of_several_definitions_not_established_is_not_ready() {
    let what = CheckKind::Established { crds: vec!["a.example.com".into(), "b.example.com".into()] };
    on_every_machine(|machine| {
        machine.stand_in(
            "kubectl",
            "for word in \"$@\"; do echo \"$word\"; done >$here/words
             echo 'customresourcedefinition.apiextensions.k8s.io/a.example.com condition met'
             echo 'error: timed out waiting for the condition on customresourcedefinitions/b.example.com' >&2; exit 1",
        );
        let outcome = machine.wait_for(&[hasty(what.clone())]);
        assert_eq!(outcome.status, Some(1));
        assert!(outcome.stderr.contains("customresourcedefinitions/b.example.com"), "{}", outcome.stderr);
        assert_eq!(
            machine.left("words"),
            "wait\n--for=condition=Established=True\n--timeout=5s\n--\n\
             customresourcedefinition/a.example.com\ncustomresourcedefinition/b.example.com\n"
        );
    });
}

#[test]
fn a_value_must_be_right_in_every_object_of_a_kind() {
    let cases = [
        ("printf 'true\\n'", 0, "ready after "),
        ("printf 'true\\ntrue\\n'", 0, "ready after "),
        ("printf 'true\\nfalse\\ntrue\\n'", 1, "2 of 3 have the value \"true\"; another is \"false\""),
        ("printf 'true\\n\\n'", 1, "1 of 2 have the value \"true\"; another is \"\""),
        ("printf 'truetrue\\n'", 1, "another is \"truetrue\""),
        ("printf 'true\\ntru'", 1, "another is \"tru\""),
        ("printf '<html>\\377\\001\\n'", 1, "0 of 1 have the value \"true\"; another is \"<html>"),
        ("true", 1, "there is none yet"),
        ("printf 'true\\n'; exit 4", 1, "exit status 4"),
    ];
    for_each_on_every_machine(&cases, |(answer, status, said), machine| {
        machine.stand_in("kubectl", answer);
        let what = CheckKind::Jsonpath {
            resource: "clusterpolicies".into(),
            path: ".status.ready".into(),
            equals: "true".into(),
            namespace: None,
        };
        let outcome = machine.wait_for(&[if *status == 0 { patient(what) } else { hasty(what) }]);
        assert_eq!(outcome.status, Some(*status), "{answer}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{answer}: {}", outcome.stderr);
    });
}

#[test]
fn a_value_of_one_object_must_be_exactly_the_text() {
    let cases = [
        ("printf true", "true", 0),
        ("printf truetrue", "true", 1),
        ("printf ''", "", 0),
        ("printf ' true'", "true", 1),
        ("printf '%s' '-n'", "-n", 0),
        ("printf '%s' '!'", "(", 1),
        ("printf 'two\\nlines'", "two\nlines", 0),
    ];
    for_each_on_every_machine(&cases, |(answer, equals, status), machine| {
        machine.stand_in("kubectl", answer);
        let what = CheckKind::Jsonpath {
            resource: "policy/a".into(),
            path: "{.x}".into(),
            equals: (*equals).into(),
            namespace: None,
        };
        let outcome = machine.wait_for(&[if *status == 0 { patient(what) } else { hasty(what) }]);
        assert_eq!(outcome.status, Some(*status), "{answer}: {}", outcome.stderr);
    });
}

#[test]
fn odd_texts_reach_kubectl_as_they_are() {
    let odd = "it's \"odd\"  $(touch $here/pwned) `touch pwned` \\ ; & | * ~ é\n\ttwo";
    on_every_machine(|machine| {
        machine.stand_in(
            "kubectl",
            "for word in \"$@\"; do printf '<%s>\\n' \"$word\"; done >>$here/words; echo a/b",
        );
        let checks = [
            patient(CheckKind::Exists { resource: odd.into(), namespace: Some(odd.into()) }),
            patient(CheckKind::Condition {
                resource: "-a/b".into(),
                condition: odd.into(),
                status: "False".into(),
                namespace: None,
            }),
        ];
        let outcome = machine.run(odd, &checks, &[], None);
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        assert_eq!(
            machine.left("words"),
            format!(
                "<get>\n<--output=name>\n<--namespace={odd}>\n<-->\n<{odd}>\n\
                 <wait>\n<--for=condition={odd}=False>\n<--timeout=5s>\n<-->\n<-a/b>\n"
            )
        );
        let report = outcome.stderr.lines().next().unwrap();
        assert!(report.starts_with("wait-it's \"odd\"") && report.contains("é\\n\\ttwo"), "{report}");
        let mut files = std::fs::read_dir(machine.folder()).unwrap().map(|file| file.unwrap().file_name());
        assert!(!files.any(|file| file == "pwned"));
    });
}

#[test]
fn a_kubectl_that_hangs_is_ended() {
    on_every_machine(|machine| {
        machine.stand_in("kubectl", "echo $$ >$here/process; trap '' TERM; while :; do sleep 1; done");
        let outcome = machine.wait_for(&[hasty(exists("node/a"))]);
        assert_eq!(outcome.status, Some(1));
        assert!(outcome.stderr.contains("no answer within 5 s"), "{}", outcome.stderr);
        assert!(outcome.took < Duration::from_secs(50), "{:?}", outcome.took);
        let process = format!("/proc/{}", machine.left("process").trim());
        assert!(!std::path::Path::new(&process).exists(), "still running");
    });
}

#[test]
fn an_ended_script_leaves_nothing_behind() {
    on_every_machine(|machine| {
        machine.stand_in("kubectl", "echo $$ >$here/process; exec sleep 60");
        let mut script = machine.start("shop", &[patient(exists("node/a"))], &[], None);
        let begin = Instant::now();
        while !machine.folder().join("process").exists() || machine.left("process").trim().is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(20), "it never began");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(Command::new("kill").arg(script.id().to_string()).status().unwrap().success());
        assert_eq!(script.wait().unwrap().code(), Some(143));
        assert_eq!(machine.temporary_files(), 0);
        let process = format!("/proc/{}", machine.left("process").trim());
        while std::path::Path::new(&process).exists() {
            assert!(begin.elapsed() < Duration::from_secs(30), "kubectl still runs");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn a_clock_that_is_set_neither_ends_nor_prolongs_the_wait() {
    let cases = [("+", 0), ("-", 0)];
    for_each_on_every_machine(&cases, |(sign, status), machine| {
        // From the second call on, the clock is ten years off.
        machine.stand_in(
            "date",
            &format!(
                "[ -e $here/asked ] && {{ echo $((1700000000 {sign} 315360000)); exit; }}
                 : >$here/asked; echo 1700000000"
            ),
        );
        machine.stand_in("kubectl", "[ -e $here/second ] && { echo node/a; exit; }; : >$here/second; exit 1");
        let outcome = machine.wait_for(&[patient(exists("node/a"))]);
        assert_eq!(outcome.status, Some(*status), "{sign}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("ready after 1 s"), "{sign}: {}", outcome.stderr);
    });
}

#[test]
fn the_list_needs_nothing_and_wrong_use_is_status_2() {
    on_every_machine(|machine| {
        let checks = [hasty(exists("node/a")), hasty(command("echo 'a'\nfalse"))];
        let outcome = machine.run("shop", &checks, &["--list"], None);
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        assert_eq!(
            outcome.stdout,
            "existence of node/a (at most 1 s)\nsuccess of: echo 'a'\\nfalse (at most 1 s)\n"
        );
        for arguments in [&["--lst"][..], &["--list", "x"], &[""]] {
            assert_eq!(machine.run("shop", &checks, arguments, None).status, Some(2), "{arguments:?}");
        }
        let nothing = machine.wait_for(&[]);
        assert_eq!((nothing.status, nothing.stderr.as_str()), (Some(0), ""));
        assert_eq!(machine.run("shop", &[], &["--list"], None).stdout, "");
    });
}

#[test]
fn http_takes_the_status_that_it_asks_for_by_curl_and_by_wget() {
    let address = answering_server();
    let mut cases = Vec::new();
    for program in ["curl", "wget", "busybox"] {
        let Some(path) = peer(program) else { continue };
        for (asked, wanted) in [(200, 200), (404, 404), (302, 302), (503, 200), (401, 200), (200, 401)] {
            cases.push((path.clone(), format!("http://{address}/{asked}"), asked, wanted));
        }
        cases.push((path, "http://127.0.0.1:1/".to_owned(), 0, 200));
    }
    for_each_on_every_machine(&cases, |(path, url, asked, wanted), machine| {
        machine.link(if path.ends_with("curl") { "curl" } else { "wget" }, path);
        let what = http(url, *wanted);
        let outcome = machine.wait_for(&[if asked == wanted { patient(what) } else { hasty(what) }]);
        let said = format!("{path:?} {url} {wanted}: {}", outcome.stderr);
        assert_eq!(outcome.status, Some(i32::from(asked != wanted)), "{said}");
        if *asked == 0 {
            assert!(said.contains("refused") || said.contains("connect to"), "{said}");
        } else {
            assert_eq!(
                said.contains(&format!("the answer is {asked}, not {wanted}")),
                asked != wanted,
                "{said}"
            );
        }
    });
}

fn http(url: &str, status: u16) -> CheckKind {
    CheckKind::Http { url: url.to_owned(), status, insecure: false }
}

/// The address of a server that answers `/STATUS` with that status, until the test ends.
fn answering_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request);
    let status = request.split(['/', ' ']).find(|part| part.parse::<u16>().is_ok()).unwrap_or("200");
    let head = format!("HTTP/1.1 {status} Said\r\nLocation: /200\r\n");
    let _ = write!(stream, "{head}Content-Length: 0\r\nConnection: close\r\n\r\n");
}
