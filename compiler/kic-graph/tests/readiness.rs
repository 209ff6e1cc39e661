//! What a readiness script does with every answer that a cluster can give, under every shell that is here.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Machine, check, command, exists, machines, peer};
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
    let odd = check(command("echo 'it''s'; echo \"a  b\" $(date) `id` \\ \n# end"));
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
    let ready =
        "case $* in *jsonpath*range*) printf 'true\\ntrue\\n';; *jsonpath*) printf true;; *) echo x/y;; esac";
    for machine in machines() {
        machine.stand_in("kubectl", ready);
        machine.stand_in("curl", "printf 200");
        let outcome = machine.wait_for(&every_kind());
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
        assert_eq!(
            outcome.stderr.matches(": ready after 0 s").count(),
            every_kind().len(),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn ready_at_the_third_try_is_status_0_and_an_unchanged_answer_is_said_once() {
    let third = "echo >>$here/tries\n[ $(cat $here/tries | tr -d -c '\\n' | { n=0; while read -r _; do n=$((n+1)); done; echo $n; }) -ge 3 ] \
         && { echo deployment.apps/shop; exit; }\necho 'Error from server (NotFound): not found' >&2\nexit 1";
    for machine in machines() {
        machine.stand_in("kubectl", third);
        let check = Check { what: exists("deployment/shop"), timeout_seconds: 20, interval_seconds: 1 };
        let outcome = machine.wait_for(&[check]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        assert_eq!(machine.left("tries").lines().count(), 3);
        assert_eq!(outcome.stderr.matches("(NotFound)").count(), 1, "{}", outcome.stderr);
        assert!(outcome.took >= Duration::from_secs(2));
    }
}

#[test]
fn never_ready_is_status_1_with_the_check_and_the_last_error() {
    for (answer, said) in [
        (
            "echo 'Error from server (NotFound): deployments.apps \"shop\" not found' >&2; exit 1",
            "(NotFound)",
        ),
        ("echo 'Error from server (Forbidden): User \"x\" cannot get' >&2; exit 1", "(Forbidden)"),
        ("echo 'Unable to connect to the server: dial tcp' >&2; exit 1", "Unable to connect"),
        ("exit 7", "exit status 7, and not a word"),
        ("exit 0", "there is none yet"),
        (
            "i=0; while [ $i -lt 99 ]; do i=$((i+1)); printf 'li\\033[2J\\000ne %s\\n' $i; done >&2; exit 1",
            "line 99",
        ),
    ] {
        for machine in machines() {
            machine.stand_in("kubectl", answer);
            let outcome = machine.wait_for(&[check(exists("deployment/shop")), check(command("true"))]);
            assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
            let (_, end) = outcome.stderr.split_once("NOT READY after ").unwrap();
            assert!(end.contains("existence of deployment/shop"), "{}", outcome.stderr);
            assert!(end.contains(said), "{}", outcome.stderr);
            assert!(!outcome.stderr.contains(['\u{1b}', '\0']), "{}", outcome.stderr);
            assert!(!outcome.stderr.contains("success of: true"), "the second check's turn never came");
            assert!(outcome.took < Duration::from_secs(10));
        }
    }
}

#[test]
fn the_check_that_failed_is_named_after_those_that_passed() {
    for machine in machines() {
        let outcome = machine.wait_for(&[check(command("true")), check(command("echo not so >&2; false"))]);
        assert_eq!(outcome.status, Some(1));
        assert!(outcome.stderr.contains("ready after 0 s: success of: true"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("success of: echo not so"), "{}", outcome.stderr);
        assert!(outcome.stderr.ends_with("    not so\n"), "{}", outcome.stderr);
    }
}

#[test]
fn a_missing_program_is_status_2_at_once() {
    for machine in machines() {
        let outcome = machine.wait_for(&[check(exists("node/a"))]);
        assert_eq!(outcome.status, Some(2));
        assert_eq!(outcome.stderr, "wait-shop: there is no kubectl on this machine\n");
        let outcome = machine.run("shop", &[check(exists("node/a"))], &[], Some("k 3 s"));
        assert_eq!(outcome.stderr, "wait-shop: there is no k 3 s on this machine\n");
        let http = CheckKind::Http { url: "http://127.0.0.1:1/".into(), status: 200, insecure: false };
        let outcome = machine.wait_for(&[check(http)]);
        assert_eq!(outcome.status, Some(2));
        assert_eq!(outcome.stderr, "wait-shop: there is no curl wget on this machine\n");
        // A check that needs none does not ask for one.
        assert_eq!(machine.wait_for(&[check(command("true"))]).status, Some(0));
    }
}

#[test]
fn kubectl_may_be_another_program() {
    for machine in machines() {
        let path = machine.stand_in("other kubectl", "echo node/a");
        let outcome = machine.run("shop", &[check(exists("node/a"))], &[], path.to_str());
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    }
}

#[test]
fn one_of_several_definitions_not_established_is_not_ready() {
    let what = CheckKind::Established { crds: vec!["a.example.com".into(), "b.example.com".into()] };
    for machine in machines() {
        machine.stand_in(
            "kubectl",
            "for word in \"$@\"; do echo \"$word\"; done >$here/words
             echo 'customresourcedefinition.apiextensions.k8s.io/a.example.com condition met'
             echo 'error: timed out waiting for the condition on customresourcedefinitions/b.example.com' >&2; exit 1",
        );
        let outcome = machine.wait_for(&[check(what.clone())]);
        assert_eq!(outcome.status, Some(1));
        assert!(outcome.stderr.contains("customresourcedefinitions/b.example.com"), "{}", outcome.stderr);
        assert_eq!(
            machine.left("words"),
            "wait\n--for=condition=Established=True\n--timeout=1s\n--\n\
             customresourcedefinition/a.example.com\ncustomresourcedefinition/b.example.com\n"
        );
    }
}

#[test]
fn a_value_must_be_right_in_every_object_of_a_kind() {
    let policies = || CheckKind::Jsonpath {
        resource: "clusterpolicies".into(),
        path: ".status.ready".into(),
        equals: "true".into(),
        namespace: None,
    };
    for (answer, status, said) in [
        ("printf 'true\\n'", 0, "ready after 0 s"),
        ("printf 'true\\ntrue\\n'", 0, "ready after 0 s"),
        ("printf 'true\\nfalse\\ntrue\\n'", 1, "2 of 3 have the value \"true\"; another is \"false\""),
        ("printf 'true\\n\\n'", 1, "1 of 2 have the value \"true\"; another is \"\""),
        ("printf 'truetrue\\n'", 1, "another is \"truetrue\""),
        ("printf '<html>\\377\\001'", 1, "there is none yet"),
        ("true", 1, "there is none yet"),
        ("printf 'true\\n'; exit 1", 1, "exit status 1"),
    ] {
        for machine in machines() {
            machine.stand_in("kubectl", answer);
            let outcome = machine.wait_for(&[check(policies())]);
            assert_eq!(outcome.status, Some(status), "{answer}: {}", outcome.stderr);
            assert!(outcome.stderr.contains(said), "{answer}: {}", outcome.stderr);
        }
    }
}

#[test]
fn a_value_of_one_object_must_be_exactly_the_text() {
    for (answer, equals, status) in [
        ("printf true", "true", 0),
        ("printf truetrue", "true", 1),
        ("printf ''", "", 0),
        ("printf ' true'", "true", 1),
        ("printf '%s' '-n'", "-n", 0),
        ("printf '%s' '!'", "(", 1),
        ("printf 'two\\nlines'", "two\nlines", 0),
    ] {
        for machine in machines() {
            machine.stand_in("kubectl", answer);
            let what = CheckKind::Jsonpath {
                resource: "policy/a".into(),
                path: "{.x}".into(),
                equals: equals.into(),
                namespace: None,
            };
            let outcome = machine.wait_for(&[check(what)]);
            assert_eq!(outcome.status, Some(status), "{answer}: {}", outcome.stderr);
        }
    }
}

#[test]
fn odd_texts_reach_kubectl_as_they_are() {
    let odd = "it's \"odd\"  $(touch $here/pwned) `touch pwned` \\ ; & | * ~ é\n\ttwo";
    for machine in machines() {
        machine.stand_in(
            "kubectl",
            "for word in \"$@\"; do printf '<%s>\\n' \"$word\"; done >>$here/words; echo a/b",
        );
        let checks = [
            check(CheckKind::Exists { resource: odd.into(), namespace: Some(odd.into()) }),
            check(CheckKind::Condition {
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
                 <wait>\n<--for=condition={odd}=False>\n<--timeout=1s>\n<-->\n<-a/b>\n"
            )
        );
        let report = outcome.stderr.lines().next().unwrap();
        assert!(report.starts_with("wait-it's \"odd\"") && report.contains("é\\n\\ttwo"), "{report}");
        let files = std::fs::read_dir(machine.folder()).unwrap().map(|file| file.unwrap().file_name());
        assert!(!files.into_iter().any(|file| file == "pwned"));
    }
}

#[test]
fn a_kubectl_that_hangs_is_ended() {
    for machine in machines() {
        machine.stand_in("kubectl", "echo $$ >$here/process; trap '' TERM; while :; do sleep 1; done");
        let outcome = machine.wait_for(&[check(exists("node/a"))]);
        assert_eq!(outcome.status, Some(1));
        assert!(outcome.stderr.contains("no answer within 1 s"), "{}", outcome.stderr);
        assert!(outcome.took < Duration::from_secs(10), "{:?}", outcome.took);
        let process = format!("/proc/{}", machine.left("process").trim());
        assert!(!std::path::Path::new(&process).exists(), "still running");
    }
}

#[test]
fn an_ended_script_leaves_nothing_behind() {
    for machine in machines() {
        machine.stand_in("kubectl", "echo $$ >$here/process; exec sleep 60");
        let check = Check { what: exists("node/a"), timeout_seconds: 60, interval_seconds: 1 };
        let mut script = machine.start("shop", &[check], &[], None);
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
    }
}

#[test]
fn the_list_needs_nothing_and_wrong_use_is_status_2() {
    for machine in machines() {
        let checks = [check(exists("node/a")), check(command("echo 'a'\nfalse"))];
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
    }
}

#[test]
fn http_takes_the_status_that_it_asks_for_by_curl_and_by_wget() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                request.push(byte[0]);
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let status = request.split(['/', ' ']).find(|part| part.parse::<u16>().is_ok()).unwrap_or("200");
            let _ = write!(
                stream,
                "HTTP/1.1 {status} Said\r\nLocation: /200\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    for program in ["curl", "wget", "busybox"] {
        let Some(path) = peer(program) else { continue };
        let name = if program == "busybox" { "wget" } else { program };
        for machine in machines() {
            machine.link(name, &path);
            for (asked, wanted, end) in
                [(200, 200, 0), (404, 404, 0), (302, 302, 0), (503, 200, 1), (401, 200, 1), (200, 401, 1)]
            {
                let url = format!("http://{address}/{asked}");
                let what = CheckKind::Http { url, status: wanted, insecure: false };
                let outcome = machine.wait_for(&[check(what)]);
                assert_eq!(outcome.status, Some(end), "{program} {asked} {wanted}: {}", outcome.stderr);
                let said = format!("the answer is {asked}, not {wanted}");
                assert_eq!(outcome.stderr.contains(&said), end == 1, "{program}: {}", outcome.stderr);
            }
            let what = CheckKind::Http { url: "http://127.0.0.1:1/".into(), status: 200, insecure: true };
            let outcome = machine.wait_for(&[check(what)]);
            assert_eq!(outcome.status, Some(1), "{program}: {}", outcome.stderr);
            assert!(outcome.stderr.to_lowercase().contains("refused"), "{program}: {}", outcome.stderr);
        }
    }
}

#[test]
fn a_command_has_the_whole_of_its_time() {
    let machine = Machine::new(vec!["/bin/sh".into()], None);
    let check = Check { what: command("sleep 3"), timeout_seconds: 10, interval_seconds: 1 };
    let outcome = machine.wait_for(&[check]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
}
