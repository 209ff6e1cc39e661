//! What is run at a start.

use super::copied::is_url;
use super::instruction::words;

/// One step of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// `kubectl apply` or `create` of these files and URLs.
    Apply { paths: Vec<String>, namespace: Option<String> },
    /// Another command.
    Run(String),
}

/// The steps of a command. Parts that `&&` joins are steps of their own where the shell would run each by itself.
pub(super) fn steps(command: &str) -> Vec<Start> {
    let whole = || vec![apply(command).unwrap_or_else(|| Start::Run(command.to_owned()))];
    let parts: Vec<&str> = command.split("&&").map(str::trim).collect();
    // One shell: what one part sets, the next may need.
    let needs_one_shell = |part: &&str| {
        let first = part.split_whitespace().next().unwrap_or_default();
        let sets = [
            "cd", "export", "source", ".", "set", "if", "for", "while", "until", "{", "!", "eval", "unset",
            "umask",
        ];
        part.is_empty()
            || part.contains(['|', ';', '&', '<', '>', '(', ')', '`', '\n'])
            || sets.contains(&first)
            || first.contains('=')
            || part.matches('"').count() % 2 == 1
            || part.matches('\'').count() % 2 == 1
    };
    if parts.len() < 2 || parts.iter().any(needs_one_shell) {
        return whole();
    }
    let mut steps: Vec<Start> = Vec::new();
    for part in parts {
        match (apply(part), steps.last_mut()) {
            (Some(apply), _) => steps.push(apply),
            (None, Some(Start::Run(before))) => before.push_str(&format!(" && {part}")),
            (None, _) => steps.push(Start::Run(part.to_owned())),
        }
    }
    steps
}

/// `kubectl apply -f PATH` and what is like it, where nothing is said that a plan cannot say.
fn apply(command: &str) -> Option<Start> {
    if command.contains(['|', ';', '&', '<', '>', '(', ')', '`', '$', '*', '\n']) {
        return None;
    }
    let words = words(command);
    let mut words = words.iter().map(String::as_str);
    if words.next() != Some("kubectl") || !matches!(words.next(), Some("apply" | "create")) {
        return None;
    }
    let (mut paths, mut namespace) = (Vec::new(), None);
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (word, None),
        };
        match option {
            "-f" | "--filename" => {
                let value = value.or_else(|| words.next())?;
                paths.extend(value.split(',').map(str::to_owned));
            }
            "-n" | "--namespace" => namespace = Some(value.or_else(|| words.next())?.to_owned()),
            "--save-config" | "--server-side" | "-R" | "--recursive" if value.is_none() => {}
            _ => return None,
        }
    }
    let is_path = |path: &String| is_url(path) || (!path.is_empty() && path != "-");
    (!paths.is_empty() && paths.iter().all(is_path)).then_some(Start::Apply { paths, namespace })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applies(paths: &[&str]) -> Start {
        Start::Apply { paths: paths.iter().map(|path| (*path).to_owned()).collect(), namespace: None }
    }

    fn run(command: &str) -> Start {
        Start::Run(command.to_owned())
    }

    #[test]
    fn commands_become_steps_where_that_says_the_same() {
        assert_eq!(
            steps("kubectl create -f etc/a.yaml && kubectl apply --filename=b.yaml"),
            [applies(&["etc/a.yaml"]), applies(&["b.yaml"])]
        );
        assert_eq!(steps("a && b && kubectl apply -f x -f y"), [run("a && b"), applies(&["x", "y"])]);
        let namespaced = Start::Apply { paths: vec!["x".into()], namespace: Some("shop".into()) };
        assert_eq!(steps("kubectl -n shop apply -f x"), [run("kubectl -n shop apply -f x")]);
        assert_eq!(steps("kubectl apply -f x -n shop"), [namespaced]);
        for one in [
            "cd etc && kubectl apply -f x",
            "kubectl apply -f x | tee log && true",
            "kubectl apply -f -",
            "kubectl apply -k x",
            "kubectl apply -f x --prune",
            "kubectl apply -f $X",
            "echo 'a && b'",
            "A=1 && kubectl apply -f x",
            "kubectl apply -f",
            "kubectl get pods",
        ] {
            assert_eq!(steps(one), [run(one)], "{one}");
        }
    }
}
