//! Messages on terminals of some width: python3's pseudo terminal plays them.

use std::process::Command;

use crate::support::kic::program;
use crate::support::peers::peer;

/// Runs a program on a terminal with so many columns, and prints what the screen got.
const SCREEN: &str = r#"
import fcntl, os, pty, struct, sys, termios
child, screen = pty.fork()
if child == 0:
    fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 24, int(sys.argv[1]), 0, 0))
    os.execv(sys.argv[2], sys.argv[2:])
shown = b""
while True:
    try:
        got = os.read(screen, 4096)
    except OSError:
        break
    if not got:
        break
    shown += got
os.waitpid(child, 0)
print(shown.decode().replace("\r\n", "\n"), end="")
"#;

/// The longest line of a message on such a terminal, in characters.
fn longest(columns: &str, variable: Option<&str>) -> Option<usize> {
    let python = peer("python3")?;
    let mut command = Command::new(python);
    command.args(["-c", SCREEN, columns]).arg(program());
    command.args(["inspect", "https://registry.example.com/a/b/c:v1.2.3"]).env("NO_COLOR", "1");
    command.env_remove("COLUMNS").envs(variable.map(|columns| ("COLUMNS", columns)));
    let output = command.output().unwrap();
    let screen = String::from_utf8_lossy(&output.stdout);
    assert!(screen.contains("invalid-image"), "{screen}");
    screen.lines().map(|line| line.chars().count()).max()
}

#[test]
fn messages_are_as_wide_as_the_terminal() {
    let Some(of_narrow) = longest("60", None) else { return };
    assert!((50..=60).contains(&of_narrow), "{of_narrow}");
    for (columns, variable) in [("90", None), ("60", Some("90"))] {
        let of_wide = longest(columns, variable).unwrap();
        assert!((70..=90).contains(&of_wide), "{columns}, {variable:?}: {of_wide}");
    }
    // A terminal that does not know counts as one of a hundred.
    assert!(longest("0", None).unwrap() > 60);
}
