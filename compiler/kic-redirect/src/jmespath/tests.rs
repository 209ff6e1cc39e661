use serde_json::json;

use super::*;

fn context() -> Json {
    json!({
        "element": {"name": "my-app", "image": "ghcr.io/a/b:1"},
        "images": {"containers": {"my-app": {"path": "a/b"}}},
        "request": {"object": {"spec": {"containers": [
            {"name": "a", "image": "nginx"},
            {"name": "b", "image": "ghcr.io/a/b:1", "ports": [{"p": 1}, {"p": 2}]},
        ]}}},
        "n": 3,
    })
}

fn value(text: &str) -> Result<Json, Fault> {
    query(text, &context())
}

#[test]
fn expressions_mean_what_kyverno_makes_of_them() {
    for (text, expected) in [
        ("element.name", json!("my-app")),
        ("images.containers.\"my-app\".path", json!("a/b")),
        ("request.object.spec.containers[].name", json!(["a", "b"])),
        ("request.object.spec.containers[*].image | [0]", json!("nginx")),
        ("request.object.spec.containers[?name=='b'].image", json!(["ghcr.io/a/b:1"])),
        ("request.object.spec.containers[?name=='b'] | [0].ports[].p", json!([1, 2])),
        ("request.object.spec.containers[].ports[].p", json!([1, 2])),
        ("request.object.spec.containers[-1].name", json!("b")),
        ("request.object.spec.containers[:1].name", json!(["a"])),
        ("request.object.spec.initContainers || `[]`", json!([])),
        ("request.object.spec.initContainers[] || `[]` | length(@)", json!(0)),
        ("length(request.object.spec.containers)", json!(2)),
        ("starts_with(element.image, 'ghcr.io/') && 'yes' || 'no'", json!("yes")),
        ("starts_with(element.image, 'quay.io/') && 'yes' || 'no'", json!("no")),
        ("regex_replace_all('^[^/]+', element.image, 'x')", json!("x/a/b:1")),
        ("regex_replace_all('^([^/]+)/(.*)$', element.image, '$2/$1')", json!("a/b:1/ghcr.io")),
        ("regex_replace_all_literal('^([^/]+)', element.image, '$1')", json!("$1/a/b:1")),
        ("replace_all(element.image, '/', '-')", json!("ghcr.io-a-b:1")),
        ("split(element.image, '/')[0]", json!("ghcr.io")),
        ("join('/', split(element.image, '/')[1:])", json!("a/b:1")),
        ("element.image == 'ghcr.io/a/b:1'", json!(true)),
        ("n > `2` && n <= `3`", json!(true)),
        ("!contains(element.image, ':')", json!(false)),
        ("{a: element.name, \"b-c\": n}", json!({"a": "my-app", "b-c": 3})),
        ("[element.name, n]", json!(["my-app", 3])),
        ("map(&name, request.object.spec.containers)", json!(["a", "b"])),
        ("'it\\'s'", json!("it's")),
        ("image_normalize('nginx')", json!("docker.io/nginx:latest")),
        ("trim(' x ', ' ')", json!("x")),
        ("to_string(n)", json!("3")),
        ("images.containers.*.path", json!(["a/b"])),
        ("sort(request.object.spec.containers[].name)", json!(["a", "b"])),
        ("missing == `null`", json!(true)),
    ] {
        assert_eq!(value(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_missing_key_fails_where_nothing_takes_it() {
    assert_eq!(value("request.object.spec.initContainers"), Err(Fault::NotFound("initContainers".into())));
    assert_eq!(value("images.containers.\"my-app\".tag"), Err(Fault::NotFound("tag".into())));
}

#[test]
fn what_is_malformed_fails_and_what_is_not_known_is_unknown() {
    for text in [
        "images.containers.my-app.path",
        "a.",
        "a[",
        "a ~ b",
        "'a",
        "`a",
        "\"a",
        "f(",
        "[1:2:3:4]",
        "a b",
        "&a",
        "length(n)",
        "starts_with(n, 'a')",
        "split('a')",
        "regex_match('(', 'a')",
        "request.object.spec.containers[::0]",
        "-",
        "",
    ] {
        assert!(matches!(value(text), Err(Fault::Fails(_))), "{text}: {:?}", value(text));
    }
    for text in ["random('a')", "x509_decode(n)", "add('1h', '2h')"] {
        assert!(matches!(value(text), Err(Fault::Unknown(_))), "{text}");
    }
    let deep = format!("{}a{}", "(".repeat(1000), ")".repeat(1000));
    assert!(matches!(value(&deep), Err(Fault::Unknown(_))));
}
