//! What each kind of check makes of every answer that kubectl can give: absent, an error, not ready and then ready,
//! wrong, slow, garbage.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::{exists, for_each_on_every_machine, hasty, patient};
use kic_spec::readiness::CheckKind;
use serde_json::json;

fn nodes(count: u32) -> CheckKind {
    CheckKind::Nodes { count }
}

fn endpoints(count: u32) -> CheckKind {
    CheckKind::Endpoints { service: "shop".into(), namespace: Some("shop".into()), count }
}

fn webhook() -> CheckKind {
    CheckKind::Webhook { resource: "validatingwebhookconfiguration/shop".into() }
}

fn admits() -> CheckKind {
    let metadata = json!({ "name": "it's a trial", "namespace": "shop" });
    CheckKind::Admits { object: json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata }) }
}

fn policy(resource: &str) -> CheckKind {
    CheckKind::Policy { resource: resource.into(), namespace: None }
}

fn jsonpath(resource: &str) -> CheckKind {
    CheckKind::Jsonpath {
        resource: resource.into(),
        path: ".status.phase".into(),
        equals: "Running".into(),
        namespace: None,
    }
}

/// Every kind that asks kubectl, and an answer that it takes for ready.
fn kinds() -> Vec<(CheckKind, &'static str)> {
    let rollout = CheckKind::Rollout { resource: "deployment/shop".into(), namespace: None };
    let condition = CheckKind::Condition {
        resource: "node/a".into(),
        condition: "Ready".into(),
        status: "True".into(),
        namespace: None,
    };
    vec![
        (rollout, "echo 'deployment \"shop\" successfully rolled out'"),
        (condition, "echo 'node/a condition met'"),
        (CheckKind::Established { crds: vec!["a.example.com".into()] }, "echo 'condition met'"),
        (exists("secret/shop"), "echo secret/shop"),
        (jsonpath("pod/shop"), "printf Running"),
        (jsonpath("pods"), "printf 'Running\\nRunning\\n'"),
        (nodes(2), "printf 'a|True\\nb|True\\n'"),
        (endpoints(1), "echo 10.0.0.7"),
        (webhook(), "case $* in *webhooks*) echo 'a||shop|shop|Q0E=';; *) echo fd00::7;; esac"),
        (admits(), "echo configmap/trial"),
        (policy("clusterpolicies"), "printf 'a|true||True|Ready\\nb|true||True|Ready\\n'"),
        (policy("clusterpolicy/a"), "echo 'a|||True|Ready'"),
    ]
}

#[test]
fn an_error_is_not_ready_and_is_shown() {
    let answers = [
        (
            "echo 'Error from server (NotFound): it is \"not found\"' >&2; exit 1",
            "(NotFound): it is \"not found\"",
        ),
        ("echo 'error: the server has no resource type' >&2; exit 1", "has no resource type"),
        ("echo 'Unable to connect to the server: i/o timeout' >&2; exit 1", "i/o timeout"),
        ("exit 3", "exit status 3, and not a word"),
    ];
    // Each kind gets one of them, and each of them goes to several kinds.
    let cases: Vec<_> =
        answers.iter().cycle().zip(kinds()).map(|(answer, (what, _))| (answer, what)).collect();
    for_each_on_every_machine(&cases, |((answer, said), what), machine| {
        machine.stand_in("kubectl", answer);
        let outcome = machine.wait_for(&[hasty(what.clone())]);
        assert_eq!(outcome.status, Some(1), "{what:?}: {}", outcome.stderr);
        let (_, end) = outcome.stderr.split_once("NOT READY after ").unwrap();
        assert!(end.contains(said), "{what:?}: {}", outcome.stderr);
    });
}

#[test]
fn not_ready_and_then_ready_is_ready() {
    for_each_on_every_machine(&kinds(), |(what, ready), machine| {
        let answer = format!(
            "[ -e $here/again ] || {{ : >$here/again; echo 'Error from server (NotFound)' >&2; exit 1; }}\n{ready}"
        );
        machine.stand_in("kubectl", &answer);
        let outcome = machine.wait_for(&[patient(what.clone())]);
        assert_eq!(outcome.status, Some(0), "{what:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("not yet: "), "{what:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains("    Error from server (NotFound)\n"),
            "{what:?}: {}",
            outcome.stderr
        );
    });
}

#[test]
fn slow_answers_are_waited_for_and_endless_ones_are_not() {
    for_each_on_every_machine(&kinds(), |(what, ready), machine| {
        machine.stand_in("kubectl", &format!("sleep 2\n{ready}"));
        let outcome = machine.wait_for(&[patient(what.clone())]);
        assert_eq!(outcome.status, Some(0), "{what:?}: {}", outcome.stderr);
        machine.stand_in("kubectl", "exec sleep 600");
        let outcome = machine.wait_for(&[hasty(what.clone())]);
        assert_eq!(outcome.status, Some(1), "{what:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("no answer within 5 s"), "{what:?}: {}", outcome.stderr);
        assert!(outcome.took.as_secs() < 60, "{what:?}: {:?}", outcome.took);
    });
}

#[test]
fn silence_is_not_ready_where_an_answer_is_read() {
    let read = |kind: &CheckKind| {
        !matches!(
            kind,
            CheckKind::Rollout { .. } | CheckKind::Condition { .. } | CheckKind::Established { .. }
        )
    };
    let mut cases = Vec::new();
    for (what, _) in kinds().into_iter().filter(|(what, _)| read(what)) {
        for answer in ["true", "printf '<html>\\377\\001|\\n'", "printf '|||||\\n'", "printf '\\n\\n'"] {
            // Of an object that exists, the name is all that is asked for.
            if answer == "true" || !matches!(what, CheckKind::Exists { .. } | CheckKind::Admits { .. }) {
                cases.push((what.clone(), answer));
            }
        }
    }
    for_each_on_every_machine(&cases, |(what, answer), machine| {
        machine.stand_in("kubectl", answer);
        let outcome = machine.wait_for(&[hasty(what.clone())]);
        assert_eq!(outcome.status, Some(1), "{what:?} {answer}: {}", outcome.stderr);
        let (_, end) = outcome.stderr.split_once("NOT READY after ").unwrap();
        assert!(end.lines().count() > 1, "{what:?} {answer}: {}", outcome.stderr);
    });
}

#[test]
fn each_kind_tells_right_from_wrong() {
    let both = |webhooks: &str, addresses: &str| {
        format!(
            "case $* in *webhooks*) printf '{webhooks}';; *endpoints/dead*) ;; *) printf '{addresses}';; esac"
        )
    };
    let plain = |answer: &str| format!("printf '{answer}'");
    let cases = [
        (nodes(1), plain("a|True\\n"), 0, "ready after"),
        (nodes(1), plain("a|True"), 0, "ready after"),
        (nodes(2), plain("a|True\\n"), 1, "1 of 1 nodes are ready, and there should be 2\n"),
        (nodes(1), plain(""), 1, "0 of 0 nodes are ready, and there should be 1\n"),
        (
            nodes(1),
            plain("a|True\\nb|False\\n"),
            1,
            "1 of 2 nodes are ready, and there should be 1; b is not: its condition Ready is \"False\"",
        ),
        (nodes(1), plain("a|Unknown\\n"), 1, "a is not: its condition Ready is \"Unknown\""),
        (nodes(1), plain("a|\\n"), 1, "its condition Ready is \"\""),
        (nodes(1), plain("a|TrueTrue\\n"), 1, "\"TrueTrue\""),
        (endpoints(2), plain("10.0.0.1\\n10.0.0.2\\n"), 0, "ready after"),
        (endpoints(2), plain("10.0.0.1\\n"), 1, "1 addresses are ready, and there should be 2"),
        (endpoints(1), plain("10.0.0.1\\nerror\\n"), 1, "\"error\" is no address"),
        (webhook(), both("a||shop|shop|Q0E=\\nb||shop|shop|Q0E=\\n", "10.0.0.1\\n"), 0, "ready after"),
        (webhook(), both("a|https://example.com/hook|||\\n", ""), 0, "ready after"),
        (
            webhook(),
            both("a||shop|shop|Q0E=\\nb||shop|dead|Q0E=\\n", "10.0.0.1\\n"),
            1,
            "which the webhook \"b\" needs of the service shop/dead",
        ),
        (
            webhook(),
            both("a||shop|shop|\\n", "10.0.0.1\\n"),
            1,
            "the webhook \"a\" has no certificate authority yet",
        ),
        (webhook(), both("a||||\\n", "10.0.0.1\\n"), 1, "the webhook \"a\" has neither service nor URL"),
        (webhook(), both("", "10.0.0.1\\n"), 1, "the configuration holds no webhook yet"),
        (policy("p"), plain("a|true|||\\nb|true|||\\n"), 0, "ready after"),
        (policy("p"), plain("a||||\\n"), 1, "0 of 1 policies are ready; a says nothing of it"),
        (policy("p"), plain("a|true|||\\nb|false|||\\n"), 1, "1 of 2 policies are ready; b says ready=false"),
        (policy("p"), plain("a|true||False|NotReady\\n"), 1, "a says ready=true Ready=False NotReady"),
        (policy("p"), plain("a||true||\\n"), 0, "ready after"),
        (policy("p"), plain("a||false|True|\\n"), 1, "0 of 1 policies are ready"),
        (policy("p"), plain("a|truetrue|||\\n"), 1, "a says ready=truetrue"),
        (policy("p/a"), plain("a|true|||\\n"), 0, "ready after"),
        (policy("p/a"), plain(""), 1, "there is none yet"),
    ];
    for_each_on_every_machine(&cases, |(what, answer, status, said), machine| {
        machine.stand_in("kubectl", answer);
        let check = if *status == 0 { patient(what.clone()) } else { hasty(what.clone()) };
        let outcome = machine.wait_for(&[check]);
        assert_eq!(outcome.status, Some(*status), "{what:?} {answer}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{what:?} {answer}: {}", outcome.stderr);
    });
}

#[test]
fn a_dry_run_hands_the_object_over_and_takes_no_refusal() {
    let object = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"it's a trial\",\"namespace\":\"shop\"}}\n";
    let cases = [
        ("echo configmap/trial", 0, "ready after"),
        (
            "echo 'Error from server (InternalError): failed calling webhook \"shop\": connection refused' >&2; exit 1",
            1,
            "connection refused",
        ),
        (
            "echo 'Error from server: admission webhook \"shop\" denied the request: no' >&2; exit 1",
            1,
            "denied the request",
        ),
    ];
    for_each_on_every_machine(&cases, |(answer, status, said), machine| {
        let keep = "for word in \"$@\"; do case $word in --filename=*) cat \"${word#*=}\" >$here/object;; --dry-run=server) : >$here/dry;; esac; done";
        machine.stand_in("kubectl", &format!("{keep}\n{answer}"));
        let check = if *status == 0 { patient(admits()) } else { hasty(admits()) };
        let outcome = machine.wait_for(&[check]);
        assert_eq!(outcome.status, Some(*status), "{answer}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{answer}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("admission of a ConfigMap it's a trial in namespace shop"));
        assert_eq!(machine.left("object"), object);
        assert!(machine.folder().join("dry").exists(), "nothing may be created");
    });
}
