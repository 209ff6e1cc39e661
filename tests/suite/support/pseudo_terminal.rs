//! Programs on a terminal, as a person has it before them: python3's pseudo terminal plays it.

use std::process::Command;

use super::kic::program;
use super::peers::peer;

/// Runs a program on a terminal with so many columns, types each argument behind `--` when a question stands there, and prints
/// what the screen got and the exit status. `^C` and `^D` are keys.
const TYPIST: &str = r#"
import fcntl, os, pty, signal, struct, sys, termios
split = sys.argv.index("--")
columns, program, keys = int(sys.argv[1]), sys.argv[2:split], sys.argv[split + 1:]
child, screen = pty.fork()
if child == 0:
    # What began the tests may ignore it, as shells do for what runs beside them.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.execv(program[0], program)
shown = b""
while True:
    try:
        got = os.read(screen, 4096)
    except OSError:
        break
    if not got:
        break
    shown += got
    if keys and shown.endswith(b": "):
        key = keys.pop(0)
        os.write(screen, {"^C": b"\x03", "^D": b"\x04"}.get(key, key.encode() + b"\n"))
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(shown.decode().replace("\r\n", "\n"), end="")
print("status", status)
"#;

/// kic on a terminal with so many columns, none where it does not say, that gets these keys; `None` where there is no python3.
/// What stands on the screen is what the command prints.
pub fn kic_on_a_terminal(columns: u16, arguments: &[&str], keys: &[&str]) -> Option<Command> {
    let mut command = Command::new(peer("python3")?);
    command.args(["-c", TYPIST, &columns.to_string()]).arg(program()).args(arguments).arg("--").args(keys);
    Some(command)
}
