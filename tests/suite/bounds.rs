//! The language is bounded: whatever a text says, it ends soon, in little memory and on a small stack, with a value or
//! with a diagnostic that names the bound.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kic_base::Source;
use kic_diag::Diagnostics;
use kic_spec::Settings;

/// The stack of a thread where the system gives no more: that of Rust's own threads.
const STACK: usize = 2 << 20;

/// Everything here takes a few seconds at most on a quiet machine, in a build without optimisation.
const SOON: Duration = Duration::from_secs(60);

/// Parses and resolves a spec on a small stack. The codes of what is said, each once.
fn codes(spec: String, others: Vec<(String, String)>, set: &[(&str, String)]) -> Vec<&'static str> {
    let settings =
        Settings { set: set.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect() };
    let work = move || {
        let mut world: BTreeMap<PathBuf, String> =
            others.into_iter().map(|(name, text)| (PathBuf::from(name), text)).collect();
        world.insert("list".into(), String::new());
        let (file, syntax) = kic_syntax::parse(&Source::new("cluster.kdl", spec));
        let said: Diagnostics = if syntax.has_errors() {
            syntax
        } else {
            match kic_spec::resolve_with(&file, Path::new("cluster.kdl"), &settings, &world) {
                Ok((spec, warnings)) => {
                    drop(spec);
                    warnings
                }
                Err(errors) => errors,
            }
        };
        // What is said must be drawn soon, too.
        assert!(kic_diag::json(&said).as_array().is_some_and(|all| all.len() <= 2000));
        let mut names: Vec<&str> = said.iter().map(|one| one.code.name).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    let start = Instant::now();
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap();
    let names = thread.join().unwrap();
    if std::env::var_os("KIC_TEST_TIMES").is_some() {
        println!("{:?} {names:?}", start.elapsed());
    }
    assert!(start.elapsed() < SOON, "it took {:?}", start.elapsed());
    names
}

fn cluster(body: &str) -> String {
    format!("cluster \"x\" {{\nbase scratch\n{body}\n}}\n")
}

fn alone(body: &str) -> Vec<&'static str> {
    codes(cluster(body), Vec::new(), &[])
}

/// `before` so many times, then `middle`, then `after` as often.
fn nested(levels: usize, before: &str, middle: &str, after: &str) -> String {
    format!("{}{middle}{}", before.repeat(levels), after.repeat(levels))
}

const NOTHING: [&str; 0] = [];

#[test]
fn the_deepest_nesting_that_is_read_fits_on_a_small_stack() {
    // The cluster itself is one level.
    let object =
        |inner: &str| format!("manifests \"m\" {{ object \"v1/ConfigMap\" name=\"x\" {{ {inner} }}; }}");
    assert_eq!(alone(&object(&nested(125, "a { ", "b 1", "; }"))), NOTHING);
    assert_eq!(alone(&nested(126, "when \"cluster.name\" is=\"x\" { ", "let \"a\" 1", "; }")), NOTHING);
    assert_eq!(alone(&nested(126, "when \"cluster.name\" is=\"y\" { ", "let \"a\" 1", "; }")), NOTHING);
    assert_eq!(alone(&nested(126, "for \"a\" 1 { ", "let \"a\" 1", "; }")), NOTHING);
    assert_eq!(alone(&nested(127, "unknown { ", "b", "; }")), ["unknown-node"]);
    let value = nested(126, "- { ", "- 1", "; }");
    let uses = object("a ($)\"${v}\"");
    assert_eq!(alone(&format!("let \"v\" {{ {value} }}\n{uses}")), NOTHING);
    assert_eq!(
        alone(&format!(
            "param \"v\" type=\"string\" {{ default {{ {} }}; }}",
            nested(124, "a { ", "b 1", "; }")
        )),
        ["wrong-type"]
    );
    // A deep value inside deep data.
    let deep = object(&nested(125, "a { ", "b ($)\"${v}\"", "; }"));
    assert_eq!(alone(&format!("let \"v\" {{ {value} }}\n{deep}")), NOTHING);
    // The same object twice, merged level by level.
    let module = format!("module \"m\" {{ {} }}", object(&nested(125, "a { ", "b 1; ", "}")));
    let both = format!("{}\nuse \"m.kdl\"", object(&nested(125, "a { ", "c ($)\"${v}\"; ", "}")));
    let others = vec![("m.kdl".to_owned(), module)];
    assert_eq!(codes(cluster(&format!("let \"v\" {{ {value} }}\n{both}")), others, &[]), NOTHING);
}

#[test]
fn what_nests_deeper_names_the_bound() {
    assert_eq!(alone(&nested(100_000, "a { ", "b", "; }")), ["nested-too-deep"]);
    assert_eq!(alone(&"a { ".repeat(200_000)), ["unbalanced-brace"]);
    assert_eq!(alone(&"}".repeat(200_000)), ["unbalanced-brace"]);
    // Values that hold each other.
    let mut lets = "let \"v0\" 1\n".to_owned();
    for level in 1..1000 {
        writeln!(lets, "let \"v{level}\" {{ a ($)\"${{v{}}}\"; }}", level - 1).unwrap();
    }
    assert_eq!(alone(&lets), ["nested-too-deep"]);
    // Modules that hold each other, each inside many conditions.
    let others = (0..60).map(|level| {
        let inner = format!("use \"m{}.kdl\"", level + 1);
        let inner = nested(100, "when \"cluster.name\" is=\"x\" { ", &inner, "; }");
        (format!("m{level}.kdl"), format!("module \"m\" {{ {inner} }}"))
    });
    assert_eq!(codes(cluster("use \"m0.kdl\""), others.collect(), &[]), ["nested-too-deep"]);
}

#[test]
fn slashdashes_nest_without_end() {
    assert_eq!(alone(&format!("{}files \"a\" {{ }}", "/-".repeat(200_000))), ["syntax-error"]);
    assert_eq!(alone(&nested(120, "/-a { ", "/-b /-c", "; }")), NOTHING);
    assert_eq!(alone(&nested(1000, "/-a { ", "/-b /-c", "; }")), ["nested-too-deep"]);
    assert_eq!(
        alone(&format!("launch {{ run \"true\" {}; }}", "/-\"x\" /-y=\"z\" ".repeat(200_000))),
        NOTHING
    );
}

#[test]
fn ten_megabytes_are_read_soon() {
    let line = "text \"/some/path/to/a/file-NUMBER\" \"some text, as long as the usual one\"\n";
    let files = |count: usize| {
        (0..count).map(|number| line.replace("NUMBER", &number.to_string())).collect::<String>()
    };
    let body = format!("files \"a\" {{ {} }}", files(10_000_000 / line.len()));
    assert_eq!(alone(&body), NOTHING);
    let long = format!("files \"a\" {{ text \"/a\" \"{}\"; }}", "x".repeat(10_000_000));
    assert_eq!(alone(&long), NOTHING);
    assert_eq!(alone(&"x".repeat(17 << 20)), ["text-too-large"]);
    // Wrong from beginning to end.
    assert_eq!(alone(&"a ".repeat(5_000_000)), ["text-too-large"]);
    assert_eq!(alone(&"words ".repeat(300_000)), ["unknown-node"]);
    assert_eq!(alone(&"a\n".repeat(300_000)), ["unknown-node"]);
    assert_eq!(alone(&"{\"a\": 1},\n".repeat(300_000)), ["syntax-error"]);
    let wrong = line.replace("text", "txt").replace("NUMBER", "1").repeat(20_000);
    assert_eq!(alone(&format!("files \"a\" {{ {wrong} }}")), ["unknown-node"]);
}

#[test]
fn a_great_many_names_layers_and_parameters_are_read_soon() {
    let many = |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<String>();
    let lets =
        many(100_000, &|number| format!("let \"v{number}\" ($)\"${{v{}}}x\"\n", number.saturating_sub(1)));
    assert_eq!(alone(&lets), ["unknown-variable"]);
    let lets = many(100_000, &|number| format!("let \"v{number}\" {number}\n"));
    assert_eq!(alone(&lets), NOTHING);
    let params = many(50_000, &|number| format!("param \"p{number}\" type=\"int\" default={number}\n"));
    assert_eq!(alone(&params), NOTHING);
    let layers = many(10_000, &|number| {
        format!("files \"f{number}\" after=\"f{}\" {{ text \"/a\" \"b\"; }}\n", number + 1)
    });
    assert_eq!(alone(&layers), ["unknown-layer"]);
    let circle = format!("{layers}files \"f10000\" after=\"f0\" {{ text \"/a\" \"b\"; }}");
    assert_eq!(alone(&circle), ["layer-cycle"]);
    let unknown = many(100_000, &|number| {
        format!("files \"f{number}\" after=\"g{number}\" {{ text \"/a\" ($)\"${{g}}\"; }}\n")
    });
    assert_eq!(alone(&unknown), ["unknown-variable"]);
    let launch = many(10_000, &|number| format!("apply \"m{number}\"\n"));
    let manifests = many(10_000, &|number| format!("manifests \"m{number}\" {{ file \"x.yaml\"; }}\n"));
    assert_eq!(alone(&format!("{manifests} launch {{ {launch} }}")), NOTHING);
    let arguments = many(100_000, &|number| format!(" p{number}={number}"));
    let others = vec![("m.kdl".to_owned(), "module \"m\"".to_owned())];
    assert_eq!(codes(cluster(&format!("use \"m.kdl\"{arguments}")), others, &[]), ["unknown-parameter"]);
}

#[test]
fn five_thousand_modules_are_used_soon_in_a_row_and_refused_in_a_chain() {
    let text = "module \"m\" { manifests \"all\" { object \"v1/ConfigMap\" name=\"NAME\" { data { a 1; }; }; object \"v1/ConfigMap\" name=\"shared\" { data { NAME 1; }; }; }; }";
    let others =
        (0..5000).map(|number| (format!("m{number}.kdl"), text.replace("NAME", &format!("n{number}"))));
    let uses: String = (0..5000).map(|number| format!("use \"m{number}.kdl\"\n")).collect();
    assert_eq!(codes(cluster(&uses), others.collect(), &[]), NOTHING);
    let others = (0..5000)
        .map(|number| (format!("m{number}.kdl"), format!("module \"m\" {{ use \"m{}.kdl\"; }}", number + 1)));
    assert_eq!(codes(cluster("use \"m0.kdl\""), others.collect(), &[]), ["too-large"]);
    // Each uses the next one twice, with nothing in them.
    let others = (0..60).map(|number| {
        let next = format!("use \"m{}.kdl\"", number + 1);
        (format!("m{number}.kdl"), format!("module \"m\" {{ {next}; {next}; }}"))
    });
    let mut others: Vec<(String, String)> = others.collect();
    others.push(("m60.kdl".to_owned(), "module \"m\"".to_owned()));
    assert_eq!(codes(cluster("use \"m0.kdl\""), others.clone(), &[]), ["too-large"]);
    // The same in a part that does not hold.
    let body = "when \"cluster.name\" is=\"y\" { use \"m0.kdl\"; }";
    assert_eq!(codes(cluster(body), others, &[]), ["too-large"]);
}

#[test]
fn what_would_explode_is_refused() {
    let list = format!("let \"list\" {}\n", "1 ".repeat(1000));
    let each = |inner: &str| nested(3, "for \"a\" in=($)\"${list}\" { ", inner, "; }");
    assert_eq!(alone(&format!("{list}{}", each("let \"x\" 1"))), ["too-large"]);
    assert_eq!(alone(&format!("{list}files \"a\" {{ {} }}", each("text \"/a\" \"b\""))), ["too-large"]);
    let mut doubled = "let \"v0\" 1 2\n".to_owned();
    for level in 1..100 {
        writeln!(doubled, "let \"v{level}\" {{ - ($)\"${{v{0}}}\"; - ($)\"${{v{0}}}\"; }}", level - 1)
            .unwrap();
    }
    assert_eq!(alone(&doubled), ["too-large"]);
    // Short of that bound, but used again and again: as data, as arguments, and in calls.
    let doubled: String = doubled.lines().take(16).map(|line| format!("{line}\n")).collect();
    let fields: String = (0..100).map(|number| format!("a{number} ($)\"${{v15}}\"\n")).collect();
    let data = format!("manifests \"m\" {{ object \"v1/ConfigMap\" name=\"x\" {{ {fields} }}; }}");
    assert_eq!(alone(&format!("{doubled}{data}")), ["too-large"]);
    let list = format!("let \"list\" {}\n", "\"x:1\" ".repeat(20_000));
    let excludes = format!("registry \"h\" {{ {} }}", "exclude ($)\"${list}\"\n".repeat(1000));
    assert_eq!(alone(&format!("{list}{excludes}")), ["too-large"]);
    let others = vec![("m.kdl".to_owned(), "module \"m\" { param \"l\" type=\"list<string>\"; }".to_owned())];
    let calls = "use \"m.kdl\" { l ($)\"${list}\"; }\n".repeat(1000);
    assert_eq!(codes(cluster(&format!("{list}{calls}")), others, &[]), ["too-large"]);
    let conditions = "for \"a\" in=($)\"${list}\" { when \"a\" in=($)\"${list}\" { let \"b\" 1; }; }";
    assert_eq!(alone(&format!("{list}{conditions}")), ["too-large"]);
}

#[test]
fn strings_do_not_grow_without_end() {
    let mut doubled = "let \"v0\" \"0123456789\"\n".to_owned();
    for level in 1..100 {
        writeln!(doubled, "let \"v{level}\" ($)\"${{v{0}}}${{v{0}}}\"", level - 1).unwrap();
    }
    assert_eq!(alone(&doubled), ["too-large"]);
    // Each below the bound, but too much together.
    let doubled: String = doubled.lines().take(17).map(|line| format!("{line}\n")).collect();
    let files = "text \"/a\" ($)\"${v16}\"\n".repeat(1000);
    assert_eq!(alone(&format!("{doubled}files \"a\" {{ {files} }}")), ["too-large"]);
}

#[test]
fn settings_may_be_huge() {
    let body = "param \"v\" type=\"string\"\nfiles \"a\" { text \"/a\" ($)\"${v}\"; }\nfiles \"b\" { text \"/a\" ($)\"${v}x\"; }";
    assert_eq!(codes(cluster(body), Vec::new(), &[("v", "x".repeat(10 << 20))]), ["too-large"]);
    let set: Vec<(String, String)> =
        (0..10_000).map(|number| (format!("v{number}"), "x".to_owned())).collect();
    let set: Vec<(&str, String)> = set.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(codes(cluster(""), Vec::new(), &set), ["unknown-parameter"]);
}
