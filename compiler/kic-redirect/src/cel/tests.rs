use serde_json::{Value as Json, json};

use super::*;

fn value(text: &str) -> Result<Json, Fault> {
    let object = json!({"spec": {"containers": [
        {"name": "a", "image": "nginx"},
        {"name": "b", "image": "ghcr.io/a/b:1"},
    ]}});
    let names = Names::from([("object".to_owned(), Value::from_json(&object))]);
    let variable = parse("object.spec.containers.map(c, c.image)").unwrap();
    let mut environment = Environment::new(names, BTreeMap::from([("images", &variable)]));
    environment.evaluate(&parse(text)?)?.to_json()
}

#[test]
fn expressions_mean_what_the_api_server_makes_of_them() {
    for (text, expected) in [
        ("1 + 2 * 3 - -1", json!(8)),
        ("7 / 2 == 3 && 7 % 2 == 1", json!(true)),
        ("1.5 + 0.5", json!(2.0)),
        ("'a' + \"b\" + r'\\d' + '''c'd''' + '\\u00e9\\x41\\101'", json!("ab\\dc'déAA")),
        ("[1, 2] + [3]", json!([1, 2, 3])),
        ("{'a': 1, ?'b': optional.none(), ?'c': optional.of(2)}", json!({"a": 1, "c": 2})),
        ("[?optional.of(1), ?optional.none(), 2]", json!([1, 2])),
        ("object.spec.containers[1].image.startsWith('ghcr.io/') ? 'yes' : 'no'", json!("yes")),
        ("has(object.spec.initContainers)", json!(false)),
        ("has(object.spec.containers) && !has(object.spec.x)", json!(true)),
        ("object.spec.?initContainers.orValue([]).size()", json!(0)),
        ("object.?spec.?containers[?0].?image.orValue('none')", json!("nginx")),
        ("object.?spec.?volumes[?0].?image.hasValue()", json!(false)),
        ("object.spec.containers.filter(c, c.name == 'b').map(c, c.image)", json!(["ghcr.io/a/b:1"])),
        ("object.spec.containers.map(c, c.name != 'b', c.image)", json!(["nginx"])),
        ("object.spec.containers.exists(c, c.image.contains('/'))", json!(true)),
        ("object.spec.containers.all(c, c.image.contains('/'))", json!(false)),
        ("object.spec.containers.exists_one(i, c, i == 1)", json!(true)),
        ("object.spec.containers.transformList(i, c, string(i) + c.name)", json!(["0a", "1b"])),
        ("{'a': 1, 'b': 2}.map(k, k)", json!(["a", "b"])),
        ("'a' in {'a': 1} && 2 in [1, 2]", json!(true)),
        ("variables.images.join(',')", json!("nginx,ghcr.io/a/b:1")),
        ("'a/b/c'.split('/', 2)", json!(["a", "b/c"])),
        ("'a/b/c'.split('/').size()", json!(3)),
        ("'tacocat'.substring(4) + 'tacocat'.substring(0, 4)", json!("cattaco")),
        ("'a/b'.replace('/', '-') + 'aaa'.replace('a', 'b', 2)", json!("a-bbba")),
        ("'abc'.indexOf('c') == 2 && 'abca'.lastIndexOf('a') == 3 && 'a'.indexOf('b') == -1", json!(true)),
        ("'x:1'.matches('^[a-z]+:[0-9]+$')", json!(true)),
        ("'x:12'.find('[0-9]+')", json!("12")),
        ("'%s-%d%%'.format(['a', 2])", json!("a-2%")),
        ("cel.bind(x, 'a', x + x)", json!("aa")),
        ("jsonpatch.escapeKey('a/b~c')", json!("a~1b~0c")),
        ("JSONPatch{op: 'add', path: '/a', value: 1}", json!({"op": "add", "path": "/a", "value": 1})),
        (
            "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'a', image: 'b'}]}}",
            json!({"spec": {"containers": [{"name": "a", "image": "b"}]}}),
        ),
        ("false && object.x || true", json!(true)),
        ("object.x == 1 || true", json!(true)),
        ("// a comment\n1 // and another", json!(1)),
        ("optional.of(1).optMap(x, x + 1).value()", json!(2)),
        ("0x1F", json!(31)),
        ("'é'.size()", json!(1)),
    ] {
        assert_eq!(value(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_wrong_fails_and_what_is_not_known_is_unknown() {
    for text in [
        "object.spec.initContainers",
        "object.spec.containers[2]",
        "1 +",
        "'a",
        "a.",
        "[1",
        "{'a' 1}",
        "1 / 0",
        "9223372036854775807 + 1",
        "'a' < 1",
        "!1",
        "'a'.matches('(')",
        "'a'.substring(2)",
        "variables.x",
        "object.spec.containers.map(c, c.x)",
        "1 ? 2 : 3",
        "#",
        "",
        "'\\q'",
        "[?1]",
    ] {
        assert!(matches!(value(text), Err(Fault::Fails(_))), "{text}: {:?}", value(text));
    }
    for text in
        ["quantity('1Mi')", "x", "b'a'", "{1: 2}", "a.b.C{d: 1}", "'a'.base64()", "authorizer.group('')"]
    {
        assert!(matches!(value(text), Err(Fault::Unknown(_))), "{text}: {:?}", value(text));
    }
    for deep in [format!("{}1{}", "(".repeat(1000), ")".repeat(1000)), format!("{}true", "!".repeat(1000))] {
        assert!(matches!(value(&deep), Err(Fault::Unknown(_))));
    }
    let long = format!("{}[0]", "lists.range(9999).all(a, lists.range(9999).all(b, true)) ? [1] : ");
    assert!(matches!(value(&long), Err(Fault::Unknown(_))));
}
