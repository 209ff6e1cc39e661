use std::ops::Range;

use kic_base::ImageReference;

/// One word of a shell command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Word {
    /// Without its quotes.
    pub(crate) text: String,
    /// Where it stands, quotes included.
    pub(crate) range: Range<usize>,
    /// Whether it is an operator, which ends a command.
    operator: bool,
}

/// How often a command may stand inside another's argument.
const MAXIMUM_NESTING: usize = 4;

/// What may stand before a command without being one.
const BEFORE_COMMANDS: &[&str] = &[
    "sudo", "exec", "time", "nohup", "env", "if", "then", "else", "elif", "do", "while", "until", "!", "{",
    "(", "command", "retry", "nice",
];

/// Options of the container tools that take no value. Any other that has no `=` takes the next word.
const SWITCHES: &[&str] = &[
    "--rm",
    "--detach",
    "--interactive",
    "--tty",
    "--privileged",
    "--init",
    "--read-only",
    "--publish-all",
    "--no-healthcheck",
    "--quiet",
    "--all-tags",
    "--all-platforms",
    "--oom-kill-disable",
    "--sig-proxy",
    "--debug",
    "--net-host",
    "--local",
    "--plain-http",
    "--skip-verify",
    "--disable-content-trust",
    "--insecure-registry",
    "--print-chainid",
    "--all-metadata",
    "--no-pivot",
    "--fifo-dir",
    "--tls",
    "--tlsverify",
    "--unpack",
    "--no-hosts",
    "--replace",
    "--systemd",
    "--tls-verify",
    "--null-io",
    "--log-level-debug",
];

/// The images that a shell command of a launch step names for certain: `kubectl run … --image=REF` and
/// `kubectl create … --image REF`, `kubectl set image … CONTAINER=REF`, and what `docker`, `podman`,
/// `nerdctl`, `crictl` and `ctr` pull or run. Quotes are understood, and commands in `sh -c "…"` looked at;
/// words with variables in them are left aside.
pub fn command_images(command: &str) -> Vec<String> {
    let mut images: Vec<String> = Vec::new();
    for word in named_by(command) {
        if !images.contains(&word.text) {
            images.push(word.text);
        }
    }
    images
}

/// The same, each where it stands; a word's range covers exactly its text where that has no quotes inside.
pub(crate) fn named_by(command: &str) -> Vec<Word> {
    let mut found = Vec::new();
    collect(command, 0, 0, &mut found);
    found
}

fn collect(command: &str, base: usize, nesting: usize, found: &mut Vec<Word>) {
    if nesting > MAXIMUM_NESTING {
        return;
    }
    let words = words(command);
    for simple in words.split(|word| word.operator) {
        simple_command(simple, base, nesting, found);
    }
}

/// One command without operators.
fn simple_command(mut words: &[Word], base: usize, nesting: usize, found: &mut Vec<Word>) {
    while let [first, rest @ ..] = words {
        let assignment = first.text.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        });
        let option = first.text.starts_with('-');
        if !(assignment || option || BEFORE_COMMANDS.contains(&first.text.as_str())) {
            break;
        }
        words = rest;
    }
    let [first, rest @ ..] = words else { return };
    let name = first.text.rsplit('/').next().unwrap_or_default();
    let (name, rest) = match (name, rest) {
        ("k3s" | "microk8s" | "rke2" | "minikube", [inner, rest @ ..]) => (inner.text.as_str(), rest),
        ("microk8s.kubectl", rest) => ("kubectl", rest),
        ("microk8s.ctr", rest) => ("ctr", rest),
        _ => (name, rest),
    };
    match name {
        "kubectl" | "oc" | "k" => kubectl(rest, base, nesting, found),
        "docker" | "podman" | "nerdctl" => containers(rest, &["pull", "run", "create"], base, found),
        "crictl" => containers(rest, &["pull"], base, found),
        "ctr" => containers(rest, &["pull", "run"], base, found),
        "sh" | "bash" | "ash" | "dash" | "zsh" | "su" | "nsenter" | "chroot" | "xargs" | "timeout"
        | "ssh" => {
            shell(rest, base, nesting, found);
        }
        "eval" => match rest {
            [script] => {
                let quote = usize::from(script.range.len() > script.text.len());
                collect(&script.text, base + script.range.start + quote, nesting + 1, found);
            }
            _ if nesting < MAXIMUM_NESTING => simple_command(rest, base, nesting + 1, found),
            _ => {}
        },
        _ => {}
    }
}

/// A command that runs another: `sh -c "…"`, `chroot /host crictl pull …`.
fn shell(words: &[Word], base: usize, nesting: usize, found: &mut Vec<Word>) {
    if let Some(at) = words.iter().position(|word| {
        word.text.starts_with('-') && !word.text.starts_with("--") && word.text.ends_with('c')
    }) && let Some(script) = words.get(at + 1)
    {
        let quote = usize::from(script.range.len() > script.text.len());
        collect(&script.text, base + script.range.start + quote, nesting + 1, found);
        return;
    }
    let tools = ["kubectl", "docker", "podman", "nerdctl", "crictl", "ctr", "k3s"];
    if let Some(at) = words.iter().position(|word| {
        tools.iter().any(|tool| word.text == *tool || word.text.ends_with(&format!("/{tool}")))
    }) && nesting < MAXIMUM_NESTING
    {
        simple_command(&words[at..], base, nesting + 1, found);
    }
}

fn kubectl(words: &[Word], base: usize, nesting: usize, found: &mut Vec<Word>) {
    let end = words.iter().position(|word| word.text == "--").unwrap_or(words.len());
    let own = &words[..end];
    let verb = |verb: &str| own.iter().position(|word| word.text == verb);
    if verb("run").is_some() || verb("create").is_some() || verb("debug").is_some() {
        for (place, word) in own.iter().enumerate() {
            if let Some(image) = word.text.strip_prefix("--image=") {
                push(word, image, base, found);
            } else if word.text == "--image"
                && let Some(next) = own.get(place + 1)
            {
                push(next, &next.text, base, found);
            }
        }
    } else if let Some(set) = verb("set")
        && own.get(set + 1).is_some_and(|word| word.text == "image")
    {
        for word in &own[set + 2..] {
            if !word.text.starts_with('-')
                && let Some((_, image)) = word.text.split_once('=')
            {
                push(word, image, base, found);
            }
        }
    }
    if end < words.len() && verb("exec").is_some() {
        simple_command(&words[end + 1..], base, nesting + 1, found);
    }
}

/// `TOOL [OPTIONS] [image] VERB [OPTIONS] REF …`
fn containers(words: &[Word], verbs: &[&str], base: usize, found: &mut Vec<Word>) {
    let mut rest = positional(words);
    while let Some((word, after)) = rest {
        match word.text.as_str() {
            "image" | "images" | "i" | "container" => rest = positional(after),
            verb if verbs.contains(&verb) => {
                if let Some((image, _)) = positional(after) {
                    push(image, &image.text, base, found);
                }
                return;
            }
            _ => return,
        }
    }
}

/// The first word that is neither an option nor the value of one, and what follows it.
fn positional(words: &[Word]) -> Option<(&Word, &[Word])> {
    let mut place = 0;
    while let Some(word) = words.get(place) {
        let text = word.text.as_str();
        place += 1;
        if text == "--" {
            return words.get(place).map(|word| (word, &words[place + 1..]));
        }
        if !text.starts_with('-') {
            return Some((word, &words[place..]));
        }
        let letters = text.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
        let alone = match letters {
            Some(letters) => {
                letters.bytes().all(|byte| matches!(byte, b'd' | b'i' | b't' | b'P' | b'q' | b'D'))
                    || letters.len() > 1
            }
            None => text.contains('=') || SWITCHES.contains(&text),
        };
        if !alone {
            place += 1;
        }
    }
    None
}

fn push(word: &Word, image: &str, base: usize, found: &mut Vec<Word>) {
    if image.parse::<ImageReference>().is_err() {
        return;
    }
    // `--image=REF` and `c=REF` end with the reference, before a quote where there is one.
    let quoted = word.range.len().saturating_sub(word.text.len()) / 2;
    let end = (base + word.range.end).saturating_sub(quoted);
    found.push(Word { text: image.to_owned(), range: end.saturating_sub(image.len())..end, operator: false });
}

/// The words of a POSIX shell text: quotes and backslashes are taken away, operators and ends of lines stand
/// alone, comments are left out. Never fails: an open quote ends with the text.
pub(crate) fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut start = None;
    let mut characters = text.char_indices().peekable();
    let finish = |word: &mut String, start: &mut Option<usize>, end: usize, words: &mut Vec<Word>| {
        if let Some(start) = start.take() {
            words.push(Word { text: std::mem::take(word), range: start..end, operator: false });
        }
    };
    while let Some((at, character)) = characters.next() {
        match character {
            '\'' | '"' => {
                start.get_or_insert(at);
                while let Some((_, inner)) = characters.next() {
                    match inner {
                        _ if inner == character => break,
                        '\\' if character == '"' => {
                            if let Some((_, escaped)) = characters.next() {
                                if !matches!(escaped, '"' | '\\' | '$' | '`' | '\n') {
                                    word.push('\\');
                                }
                                word.push(escaped);
                            }
                        }
                        _ => word.push(inner),
                    }
                }
            }
            '\\' => match characters.next() {
                Some((_, '\n')) | None => {}
                Some((_, '\r')) if characters.peek().is_some_and(|(_, next)| *next == '\n') => {
                    characters.next();
                }
                Some((_, escaped)) => {
                    start.get_or_insert(at);
                    word.push(escaped);
                }
            },
            '#' if start.is_none() => {
                while characters.peek().is_some_and(|(_, next)| *next != '\n') {
                    characters.next();
                }
            }
            '\n' | ';' | '&' | '|' | '(' | ')' | '`' => {
                finish(&mut word, &mut start, at, &mut words);
                words.push(Word { text: character.to_string(), range: at..at + 1, operator: true });
            }
            _ if character.is_whitespace() => finish(&mut word, &mut start, at, &mut words),
            _ => {
                start.get_or_insert(at);
                word.push(character);
            }
        }
    }
    finish(&mut word, &mut start, text.len(), &mut words);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_commands_are_found() {
        for (command, images) in [
            ("kubectl run nginx --image=nginx:latest", vec!["nginx:latest"]),
            ("kubectl run nginx --image nginx:1 -- sleep 5", vec!["nginx:1"]),
            ("kubectl -n a run nginx '--image=a/b:1'", vec!["a/b:1"]),
            ("kubectl run nginx --image=\"a/b:1\" && docker pull c:2", vec!["a/b:1", "c:2"]),
            ("kubectl create deployment web --image=httpd --image=sidecar:2", vec!["httpd", "sidecar:2"]),
            ("kubectl set image deployment/a web=nginx:2 -n b *=c:3", vec!["nginx:2", "c:3"]),
            ("kubectl debug node/x -it --image=busybox", vec!["busybox"]),
            ("sudo crictl pull quay.io/a/b:1", vec!["quay.io/a/b:1"]),
            ("crictl run container.json pod.json", vec![]),
            (
                "ctr -n k8s.io images pull --platform linux/amd64 docker.io/library/a:1",
                vec!["docker.io/library/a:1"],
            ),
            ("ctr run --rm -t docker.io/library/a:1 name sh", vec!["docker.io/library/a:1"]),
            ("docker run --rm -it -p 80:80 -v /a:/b --name x --env A=b nginx:1 nginx -g x", vec!["nginx:1"]),
            ("docker run -p80:80 -d nginx:1", vec!["nginx:1"]),
            ("nerdctl --namespace k8s.io run --net=host a:1 b:2", vec!["a:1"]),
            ("docker image pull a:1; docker push b:1", vec!["a:1"]),
            ("docker build -t a:1 .", vec![]),
            ("sh -c 'crictl pull a:1; crictl pull b:1'", vec!["a:1", "b:1"]),
            ("chroot /host crictl pull a:1", vec!["a:1"]),
            ("FOO=bar docker pull a:1", vec!["a:1"]),
            ("docker pull ${IMAGE}", vec![]),
            ("eval \"docker pull a:1\"; eval docker pull 'b:1'", vec!["a:1", "b:1"]),
            ("docker pull \\\n  a:1", vec!["a:1"]),
            ("echo docker pull a:1", vec![]),
            ("# docker pull a:1", vec![]),
            ("kubectl apply -f etc/shop.yaml", vec![]),
            ("kubectl wait --for=condition=x pod/a", vec![]),
            ("for i in 1 2; do docker pull a:$i; docker pull b:1; done", vec!["b:1"]),
            ("x=$(docker run a:1 id)", vec!["a:1"]),
            ("docker pull 'a:1", vec!["a:1"]),
            ("docker run", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(command_images(command), images, "{command}");
        }
    }

    #[test]
    fn the_place_of_a_word_is_the_place_of_its_reference() {
        for command in [
            "docker pull a:1",
            "kubectl run x \"--image=a:1\"",
            "kubectl run x --image='a:1'",
            "sh -c 'docker pull a:1'",
        ] {
            for word in named_by(command) {
                let end = word.range.end;
                let found = &command[word.range.clone()];
                assert!(found == "a:1" || command[..end].contains("a:1"), "{command}: {found}");
            }
        }
    }
}
