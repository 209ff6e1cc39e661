use std::collections::BTreeMap;

use kic_base::Source;

use super::split::leaves;

/// How many fields are named.
const SHOWN: usize = 20;

/// The fields in which two renderings of one chart differ, as `KIND NAME FIELD`.
pub(super) fn differences(first: &str, second: &str) -> Vec<String> {
    let (first, second) = (fields(first), fields(second));
    let mut names: Vec<&String> = first.keys().chain(second.keys()).collect();
    names.sort();
    names.dedup();
    let mut differing: Vec<String> =
        names.into_iter().filter(|name| first.get(*name) != second.get(*name)).cloned().collect();
    let more = differing.len().saturating_sub(SHOWN);
    differing.truncate(SHOWN);
    if more > 0 {
        differing.push(format!("and {more} more"));
    }
    if differing.is_empty() {
        differing.push("white space, comments, or the order of fields".to_owned());
    }
    differing
}

fn fields(text: &str) -> BTreeMap<String, String> {
    let (objects, _) = kic_manifest::read(&Source::new("rendered", text.to_owned()));
    let mut all = BTreeMap::new();
    for object in objects {
        let mut own = BTreeMap::new();
        leaves(&object.root, "", &mut own);
        let title = object.title();
        all.extend(own.into_iter().map(|(path, value)| (format!("{title} {path}"), value)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_that_differ_are_named() {
        let text = |password: &str| {
            format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData:\n  p: {password}\n---\n\
                 apiVersion: v1\nkind: Pod\nmetadata: {{name: b, namespace: c}}\nspec: {{containers: [{{env: [{{value: {password}}}]}}]}}\n"
            )
        };
        assert_eq!(
            differences(&text("x"), &text("y")),
            ["Pod c/b spec.containers[0].env[0].value", "Secret a stringData.p"]
        );
        assert_eq!(differences("a: 1", "a:  1"), ["white space, comments, or the order of fields"]);
    }
}
